"""Figures of a model, worked by hand for one convolution."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnx2jax
from onnx2jax.inspect import example_shapes, summary


@pytest.fixture
def model():
    """A 3×3 convolution of 4 to 8 channels over 10×10 pixels, and a ReLU."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4, 10, 10])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 8, 8, 8])
    w = numpy_helper.from_array(np.ones((8, 4, 3, 3), np.float32), "w")
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Relu", ["c"], ["y"])]
    graph = helper.make_graph(nodes, "g", [x], [y], [w])
    return onnx2jax.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]))


def test_counts_of_a_convolution(model):
    shown = summary(model)
    assert shown["parameters"] == 8 * 4 * 9
    assert shown["operators"] == {"Conv": 1, "Relu": 1}
    products = 2 * 8 * 8 * 8 * 4 * 9
    assert shown["gflop"] == pytest.approx((products + 8 * 8 * 8) / 1e9, abs=1e-4)
    # The input and the convolution, or the convolution and the ReLU, whichever is more.
    alive = 4 * max(4 * 100 + 8 * 64, 8 * 64 * 2)
    assert shown["activations_mib"] == round(alive / 2**20, 2)


def test_a_free_batch_counts_as_one(model):
    assert example_shapes(model) == [(1, 4, 10, 10)]


def test_what_has_no_shape_has_no_costs():
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", "m"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "m"])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    m = onnx2jax.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]))
    assert "gflop" not in summary(m)
    with pytest.raises(onnx2jax.InputError, match="input 'x' has no fixed shape"):
        example_shapes(m)

"""Operators that ONNX defines by a function of others, and functions that a file defines."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import onnx2jax
import single
from onnx2jax import functions, registry
from tolerances import assert_close


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_an_operator_of_onnx_is_replaced_by_its_function():
    given = {"x": draw(2, 5), "scale": draw(5, seed=1)}
    proto = single.model("RMSNormalization", given, ["y"], 23)
    assert registry.find("", "RMSNormalization", 23) is None
    (y,) = single.ours(proto, given)
    mean = (given["x"].astype(np.float64) ** 2).mean(-1, keepdims=True)
    assert_close(y, given["x"] / np.sqrt(mean + 1e-5) * given["scale"], relative=1e-5)


def test_inputs_that_are_left_out_have_no_type_and_need_none():
    """onnx's own inliner fails on them."""
    q, k = draw(1, 2, 3, 4), draw(1, 2, 5, 4, seed=1)
    given = {"q": q, "k": k, "v": k, "mask": None, "pk": None, "pv": None}
    proto = single.model("Attention", given, ["y"], 23)
    (y,) = single.ours(proto, given)
    scores = q @ k.swapaxes(-1, -2) / 2
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    assert_close(y, weights / weights.sum(-1, keepdims=True) @ k, relative=1e-5)


@pytest.mark.parametrize("periodic", [None, 0])
def test_attributes_that_are_left_out_have_their_defaults(periodic):
    options = {} if periodic is None else {"periodic": periodic}
    proto = single.model("HannWindow", {"n": np.asarray(10)}, ["y"], 17, **options)
    (y,) = single.ours(proto, {"n": np.asarray(10)})
    expected = np.hanning(11)[:10] if periodic is None else np.hanning(10)
    np.testing.assert_allclose(y, expected, atol=1e-6)


def test_functions_of_the_file_are_inlined_within_each_other():
    inner = helper.make_function(
        "own", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 18)],
    )  # fmt: skip
    outer = helper.make_function(
        "own", "Fourfold", ["a"], ["c"],
        [
            helper.make_node("Twice", ["a"], ["b"], domain="own"),
            helper.make_node("Twice", ["b"], ["c"], domain="own"),
        ],
        [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)],
    )  # fmt: skip
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in "xy")
    graph = helper.make_graph(
        [helper.make_node("Fourfold", ["x"], ["y"], domain="own")], "g", [x], [y]
    )
    proto = helper.make_model(
        graph,
        functions=[inner, outer],
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("own", 1)],
    )
    m = onnx2jax.load(proto)
    assert m(m.params, np.float32([1, 2])).tolist() == [4, 8]


@pytest.mark.parametrize("spoilt", ["input", "output"])
@pytest.mark.parametrize("op", ["RMSNormalization", "SoftmaxCrossEntropyLoss", "SwiGLU"])
def test_nodes_that_do_not_fit_their_function_are_invalid(op, spoilt):
    """onnx's inference of types raises exceptions of its own."""
    opset = {"RMSNormalization": 23, "SoftmaxCrossEntropyLoss": 13, "SwiGLU": 28}[op]
    proto = single.model(op, {"x": draw(2, 5), "z": draw(5)}, ["y"], opset)
    del getattr(proto.graph.node[0], spoilt)[:]
    with pytest.raises(onnx2jax.InvalidModelError, match=f"cannot be inlined: .*{op}.* out of"):
        onnx2jax.load(proto)


def test_what_nobody_defines_is_left_for_one_message():
    node = helper.make_node("Mystery", ["x"], ["y"], domain="com.example")
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in "xy")
    proto = helper.make_model(
        helper.make_graph([node], "g", [x], [y]),
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("com.example", 1)],
    )
    same = functions.with_functions(proto, lambda *name: registry.find(*name) is not None)
    assert isinstance(same, onnx.ModelProto)
    assert same.graph.node[0].op_type == "Mystery"
    with pytest.raises(onnx2jax.UnsupportedModelError, match=r"com\.example\.Mystery"):
        onnx2jax.load(proto)

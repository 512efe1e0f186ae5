import jax
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnx2jax


def value(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, inputs, outputs, weights=(), opset=18):
    weights = [numpy_helper.from_array(np.asarray(a), n) for n, a in weights]
    body = helper.make_graph(nodes, "g", inputs, outputs, weights)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def test_shape_arithmetic_disappears_under_jit():
    """Shape, Gather, Unsqueeze and Concat leave one reshape and nothing else."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Unsqueeze", ["n", "axes"], ["u"]),
        helper.make_node("Concat", ["u", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["y"]),
    ]
    weights = [("zero", np.int64(0)), ("axes", np.int64([0])), ("rest", np.int64([-1]))]
    x, y = value("x", ["n", 2, 3]), value("y", ["n", 6])
    m = onnx2jax.load(model(nodes, [x], [y], weights))
    jaxpr = jax.make_jaxpr(m)(m.params, np.zeros((5, 2, 3), np.float32))
    assert [eqn.primitive.name for eqn in jaxpr.eqns] == ["reshape"]
    assert m.params == {}


def test_all_unsupported_operators_are_listed_at_once():
    nodes = [
        helper.make_node("NonExistent", ["x"], ["a"], domain="com.example"),
        helper.make_node("Unknown", ["a"], ["b"]),
        helper.make_node("Unknown", ["b"], ["c"]),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    proto = model(nodes, [value("x", [1])], [value("y", [1])])
    expected = (
        r"2 operators .*: Unknown \(opset 18\) × 2, com\.example\.NonExistent \(opset 1\) × 1"
    )
    with pytest.raises(onnx2jax.UnsupportedModelError, match=expected):
        onnx2jax.load(proto)


def test_floats_are_parameters_unless_a_shape_depends_on_them():
    nodes = [
        helper.make_node("Constant", [], ["bound"], value_float=0.5),
        helper.make_node("Clip", ["x", "bound"], ["c"]),
        helper.make_node("Mul", ["c", "gain"], ["m"]),
        helper.make_node("Resize", ["m", "", "scales"], ["y"], mode="nearest"),
    ]
    weights = [("gain", np.float32([2])), ("scales", np.float32([1, 1, 2, 2]))]
    shape = value("x", [1, 1, 2, 2]), value("y", [1, 1, 4, 4])
    m = onnx2jax.load(model(nodes, [shape[0]], [shape[1]], weights))
    assert list(m.params) == ["gain"]
    assert sorted(m.constants) == ["bound", "scales"]
    assert jax.jit(m)(m.params, np.ones((1, 1, 2, 2), np.float32)).shape == (1, 1, 4, 4)


def test_a_failing_node_is_named_with_its_inputs():
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], name="head")]
    weights = [("w", np.ones((3, 2), np.float32))]
    m = onnx2jax.load(model(nodes, [value("x", ["n", "k"])], [value("y", ["n", 2])], weights))
    expected = r"MatMul node 'head' on inputs float32\[1, 4\], float32\[3, 2\]"
    with pytest.raises(onnx2jax.OperatorError, match=expected):
        m(m.params, np.ones((1, 4), np.float32))


def test_unknown_attributes_are_refused():
    nodes = [helper.make_node("Relu", ["x"], ["y"], slope=0.5, name="act")]
    with pytest.raises(onnx2jax.InvalidModelError, match=r"'act' has attributes .*\['slope'\]"):
        onnx2jax.load(model(nodes, [value("x", [1])], [value("y", [1])]))


def test_missing_inputs_are_refused():
    nodes = [helper.make_node("Add", ["x"], ["y"], name="sum")]
    with pytest.raises(onnx2jax.InvalidModelError, match="'sum' has 1 inputs; Add-7 takes 2 to 2"):
        onnx2jax.load(model(nodes, [value("x", [1])], [value("y", [1])]))


def test_a_shape_that_depends_on_values_names_node_and_input():
    nodes = [
        helper.make_node("Cast", ["x"], ["shape"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["x", "shape"], ["y"], name="r"),
    ]
    m = onnx2jax.load(model(nodes, [value("x", [2])], [value("y", ["a", "b"])]))
    # The input decides a shape: eager it is known, traced it cannot be.
    assert m(m.params, np.float32([1, 2])).shape == (1, 2)
    with pytest.raises(onnx2jax.InputError, match="'x' decides a shape, so it cannot be traced"):
        jax.jit(m)(m.params, np.float32([1, 2]))


def test_parameters_in_another_precision_carry_the_constants_along():
    nodes = [
        helper.make_node("Constant", [], ["third"], value_float=1 / 3),
        helper.make_node("Mul", ["x", "third"], ["y"]),
    ]
    m = onnx2jax.load(model(nodes, [value("x", [1])], [value("y", [1])]))
    with jax.enable_x64(True):
        y = m(m.params, np.float64([1]))
        assert y.dtype == np.float64

"""What MXNet exports and onnxruntime refuses, read as its authors meant."""

import jax
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import networks
import onnx2jax
import single
from tolerances import assert_close


def quirky(proto):
    """The same network as MXNet writes it: PRelu slopes (C,), BatchNormalization spatial=0."""
    twin = onnx.ModelProto.FromString(proto.SerializeToString())
    slopes = {n.input[1] for n in twin.graph.node if n.op_type == "PRelu"}
    for weight in twin.graph.initializer:
        if weight.name in slopes:
            flat = numpy_helper.to_array(weight).reshape(-1)
            weight.CopyFrom(numpy_helper.from_array(flat, weight.name))
    for node in twin.graph.node:
        if node.op_type == "BatchNormalization":
            node.attribute.append(helper.make_attribute("spatial", 0))
    return twin


def with_preprocessing(proto, ir_version):
    """In the graph, as MXNet's: (x − 127.5) / 128 by scalars, a Dropout before the dense layer."""
    twin = onnx.ModelProto.FromString(proto.SerializeToString())
    graph = twin.graph
    for name, value in (("scalar0", 127.5), ("scalar1", 0.0078125)):
        graph.initializer.append(numpy_helper.from_array(np.float32([value]), name))
    for node in graph.node:
        node.input[:] = ["scaled" if name == "input" else name for name in node.input]
    graph.node.insert(0, helper.make_node("Sub", ["input", "scalar0"], ["centred"]))
    graph.node.insert(1, helper.make_node("Mul", ["centred", "scalar1"], ["scaled"]))
    (position,) = (i for i, node in enumerate(graph.node) if node.op_type == "Flatten")
    graph.node.insert(
        position,
        helper.make_node("Dropout", [graph.node[position].input[0]], ["dropped"], ratio=0.4),
    )
    graph.node[position + 1].input[0] = "dropped"
    if ir_version < 4:  # every weight is listed as an input too
        graph.input.extend(
            helper.make_tensor_value_info(w.name, w.data_type, w.dims) for w in graph.initializer
        )
    twin.ir_version = ir_version
    return twin


@pytest.mark.parametrize("opset", [pytest.param(7, marks=pytest.mark.slow), 8])
def test_the_zoos_arcface_rebuilt_equals_its_repaired_twin_in_onnxruntime(opset):
    """arcfaceresnet100-8: 100 layers, IR 3, PRelu slopes (C,), BatchNormalization spatial=0."""
    plain = networks.iresnet((3, 13, 30, 3), width=8, dimension=16, opset=opset)
    m = onnx2jax.load(quirky(with_preprocessing(plain, 3)))
    assert [spec.name for spec in m.inputs] == ["input"]
    repaired = single.session(with_preprocessing(plain, 8))
    for batch in (1, 8):
        x = 255 * np.random.default_rng(batch).random((batch, 3, 112, 112), dtype=np.float32)
        (expected,) = repaired.run(None, {"input": x})
        assert_close(jax.jit(m)(m.params, x), expected, relative=1e-4)


def batch_normalization(outputs, opset=15):
    x = np.random.default_rng(0).normal(2, 3, (4, 3, 5)).astype(np.float32)
    given = {
        "x": x,
        "scale": np.float32([1, 2, 3]),
        "bias": np.float32([0, 1, 2]),
        "mean": np.float32([5, 6, 7]),
        "var": np.float32([1, 2, 3]),
    }
    options = {} if opset < 14 else {"training_mode": 1, "momentum": 0.75}
    return given, single.model("BatchNormalization", given, outputs, opset, **options)


def test_training_normalizes_by_the_batch_and_moves_the_running_moments():
    given, proto = batch_normalization(["y", "mean2", "var2"])
    y, mean, var = single.ours(proto, given)
    x = given["x"].astype(np.float64)
    assert_close(mean, 0.75 * given["mean"] + 0.25 * x.mean((0, 2)), relative=1e-6)
    assert_close(var, 0.75 * given["var"] + 0.25 * x.var((0, 2)), relative=1e-6)
    unit = (x - x.mean((0, 2))[:, None]) / np.sqrt(x.var((0, 2)) + 1e-5)[:, None]
    expected = unit * given["scale"][:, None] + given["bias"][:, None]
    assert_close(y, expected, relative=1e-5)


def test_saved_statistics_of_old_training_are_refused():
    given, proto = batch_normalization(["y", "mean2", "var2"], opset=9)
    with pytest.raises(onnx2jax.UnsupportedModelError, match="saved statistics"):
        single.ours(proto, given)

"""What MXNet exports and onnxruntime refuses, read as its authors meant."""

import jax
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import networks
import onnx2jax
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


def test_mxnet_quirks_mean_what_their_authors_meant():
    proto = networks.iresnet((1, 1, 1, 1), width=8, dimension=16, opset=8)
    plain, twin = onnx2jax.load(proto), onnx2jax.load(quirky(proto))
    x = np.random.default_rng(0).random((2, 3, 112, 112), dtype=np.float32)
    assert_close(jax.jit(twin)(twin.params, x), jax.jit(plain)(plain.params, x))


def test_training_mode_is_refused():
    proto = networks.iresnet((1, 1, 1, 1), width=8, dimension=16, opset=18)
    for node in proto.graph.node:
        if node.op_type == "BatchNormalization":
            node.attribute.append(helper.make_attribute("training_mode", 1))
    model = onnx2jax.load(proto)
    x = np.zeros((1, 3, 112, 112), np.float32)
    with pytest.raises(onnx2jax.UnsupportedModelError, match="training mode is not supported"):
        model(model.params, x)

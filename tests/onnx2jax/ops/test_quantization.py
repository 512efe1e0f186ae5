"""Integers in place of floats: to the integer what onnxruntime gives, or the next one."""

import jax
import numpy as np
import pytest
from onnx import numpy_helper

import onnx2jax
import single


def draw(*shape, dtype=np.uint8, seed=0):
    limits = np.iinfo(dtype)
    values = np.random.default_rng(seed).integers(limits.min, limits.max, shape, endpoint=True)
    return values.astype(dtype)


def seven_bits(*shape, seed=0):
    """Weights with which onnxruntime's 16-bit sums of products do not saturate on AVX2."""
    return np.random.default_rng(seed).integers(-64, 64, shape).astype(np.int8)


def agree(op, given, opset, off=0, **attributes):
    proto = single.model(op, given, ["y"], opset, **attributes)
    (y,), (expected,) = single.ours(proto, given), single.onnxruntimes(proto, given)
    assert y.dtype == expected.dtype
    assert np.abs(y.astype(np.int64) - expected.astype(np.int64)).max() <= off


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("axis", [None, 1])
def test_quantize_and_back(dtype, axis):
    channels = () if axis is None else (3,)
    x = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32) * 5
    given = {
        "x": x,
        "scale": np.full(channels, 0.037, np.float32),
        "zero": np.full(channels, 3, dtype),
    }
    agree("QuantizeLinear", given, 19, axis=axis or 0)
    back = {"x": draw(2, 3, 4, dtype=dtype), **{n: given[n] for n in ("scale", "zero")}}
    proto = single.model("DequantizeLinear", back, ["y"], 19, axis=axis or 0)
    (y,), (expected,) = single.ours(proto, back), single.onnxruntimes(proto, back)
    np.testing.assert_allclose(y, expected, rtol=1e-6)


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("per_channel", [False, True])
def test_quantised_convolutions(group, per_channel):
    scale = np.linspace(0.01, 0.05, 6).astype(np.float32) if per_channel else np.float32(0.02)
    given = {
        "x": draw(2, 4, 7, 6),
        "x_scale": np.float32(0.03),
        "x_zero": np.uint8(120),
        "w": seven_bits(6, 4 // group, 3, 3, seed=1),
        "w_scale": np.asarray(scale),
        "w_zero": np.zeros(np.shape(scale), np.int8),
        "y_scale": np.float32(1.3),
        "y_zero": np.uint8(128),
        "b": np.int32([5, -7, 100, 0, 1, 2]),
    }
    given = {name: np.asarray(v) for name, v in given.items()}
    # onnxruntime multiplies the scales in another order: a half may round the other way.
    agree("QLinearConv", given, 18, off=1, group=group, pads=[1, 1, 1, 1], strides=[2, 1])


def test_integer_products():
    given = {
        "a": draw(3, 5),
        "b": seven_bits(5, 4, seed=1),
        "za": np.asarray(np.uint8(7)),
        "zb": np.asarray(np.int8(-3)),
    }
    agree("MatMulInteger", given, 18)


def test_quantised_products():
    given = {
        "a": draw(3, 5),
        "a_scale": np.float32(0.02),
        "a_zero": np.uint8(7),
        "b": draw(5, 4, seed=1),
        "b_scale": np.float32(0.01),
        "b_zero": np.uint8(100),
        "y_scale": np.float32(0.2),
        "y_zero": np.uint8(128),
    }
    agree("QLinearMatMul", {n: np.asarray(v) for n, v in given.items()}, 18, off=1)


def test_quantised_weights_are_parameters():
    w = seven_bits(6, 4, 3, 3)
    given = {
        "x": draw(1, 4, 7, 6),
        "w": w,
        "xz": np.asarray(np.uint8(1)),
        "wz": np.asarray(np.int8(0)),
    }
    proto = single.model("ConvInteger", given, ["y"], 18)
    proto.graph.initializer.append(numpy_helper.from_array(w, "w"))
    m = onnx2jax.load(proto)
    assert list(m.params) == ["w"]
    rest = [given[n] for n in ("x", "xz", "wz")]
    y = jax.jit(m)(m.params, *rest)
    (expected,) = single.onnxruntimes(proto, {n: given[n] for n in ("x", "xz", "wz")})
    np.testing.assert_array_equal(y, expected)

"""Quantised tensors: integers (or small floats), a scale and a zero point."""

from __future__ import annotations

import jax.numpy as jnp
import ml_dtypes
import numpy as np

from onnx2jax.ops.cast import converted
from onnx2jax.ops.conv import convolve, sum_bias
from onnx2jax.ops.window import resolve
from onnx2jax.registry import op
from onnx2jax.values import cast, dtype_of, namespace


@op("QuantizeLinear", 10)
def QuantizeLinear(
    x,
    y_scale,
    y_zero_point=None,
    *,
    axis=1,
    saturate=1,
    block_size=0,
    output_dtype=0,
    precision=0,
):
    xp = namespace(x, y_scale, y_zero_point)
    if y_zero_point is not None:
        dtype = y_zero_point.dtype
    else:
        dtype = np.dtype(dtype_of(output_dtype) if output_dtype else np.uint8)
    scale = _spread(y_scale, x.shape, axis, block_size)
    if precision:
        x, scale = cast(x, dtype_of(precision)), cast(scale, dtype_of(precision))
    wide = jnp.promote_types(x.dtype, scale.dtype)
    y = cast(x, wide) / cast(scale, wide)
    zero = None if y_zero_point is None else _spread(y_zero_point, x.shape, axis, block_size)
    if not _is_integer(dtype):
        y = y if zero is None or dtype.name.startswith("float8") else y + cast(zero, y.dtype)
        return converted(y, dtype, bool(saturate))
    return _clipped(xp.rint(cast(y, np.float32)), zero, dtype)


@op("DequantizeLinear", 10)
def DequantizeLinear(x, x_scale, x_zero_point=None, *, axis=1, block_size=0, output_dtype=0):
    y = cast(x, np.float32)
    if x_zero_point is not None:
        y = y - cast(_spread(x_zero_point, x.shape, axis, block_size), np.float32)
    y = y * cast(_spread(x_scale, x.shape, axis, block_size), np.float32)
    return cast(y, dtype_of(output_dtype) if output_dtype else x_scale.dtype)


def _spread(value, shape, axis, block_size):
    """A scale or zero point, of a tensor, an axis or blocks of it, beside the tensor."""
    if np.size(value) == 1:
        return value.reshape(())
    if not block_size:
        return value.reshape([-1 if i == axis % len(shape) else 1 for i in range(len(shape))])
    xp = namespace(value)
    repeated = xp.repeat(value, block_size, axis)
    index = [slice(None)] * len(shape)
    index[axis] = slice(shape[axis])  # the last block may be cut
    return repeated[tuple(index)]


def _is_integer(dtype):
    return np.dtype(dtype).name.lstrip("u").startswith("int")


def _clipped(y, zero, dtype):
    """Rounded numbers less what the type cannot hold, about its zero point."""
    limits = ml_dtypes.iinfo(dtype)
    y = y if zero is None else y + cast(zero, y.dtype)
    y = cast(namespace(y).clip(y, int(limits.min), int(limits.max)), np.int32)
    return y.astype(dtype)


def _centred(x, zero_point, axis=None):
    """Integers less their zero point, which may be one for each place on an axis."""
    x = cast(x, np.int32)
    if zero_point is None:
        return x
    zero = cast(zero_point, np.int32)
    if np.ndim(zero) and axis is not None:
        zero = _spread(zero, x.shape, axis, 0)
    return x - zero


@op("MatMulInteger", 10)
def MatMulInteger(a, b, a_zero_point=None, b_zero_point=None):
    a_zero_point = _rows(a_zero_point)
    return jnp.matmul(_centred(a, a_zero_point), _centred(b, b_zero_point))


def _rows(value):
    """One number a row, beside the rows."""
    return value[..., None] if value is not None and np.ndim(value) == 1 else value


@op("QLinearMatMul", 10)
def QLinearMatMul(a, a_scale, a_zero_point, b, b_scale, b_zero_point, y_scale, y_zero_point):
    y = MatMulInteger(a, b, a_zero_point, b_zero_point)
    scale = cast(_rows(a_scale), np.float32) * cast(b_scale, np.float32)
    return _requantized(y, scale, y_scale, y_zero_point)


@op("ConvInteger", 10)
def ConvInteger(
    x,
    w,
    x_zero_point=None,
    w_zero_point=None,
    *,
    auto_pad="NOTSET",
    dilations=None,
    group=1,
    kernel_shape=None,
    pads=None,
    strides=None,
):
    # Padding holds the zero point, that is nothing once x is centred.
    x, w = _centred(x, x_zero_point), _centred(w, w_zero_point, 0)
    geometry = resolve(x.shape[2:], w.shape[2:], auto_pad, pads, strides, dilations)
    return convolve(jnp.asarray(x), jnp.asarray(w), *geometry, group)


@op("QLinearConv", 10)
def QLinearConv(
    x,
    x_scale,
    x_zero_point,
    w,
    w_scale,
    w_zero_point,
    y_scale,
    y_zero_point,
    b=None,
    *,
    auto_pad="NOTSET",
    dilations=None,
    group=1,
    kernel_shape=None,
    pads=None,
    strides=None,
):
    geometry = {"dilations": dilations, "group": group, "pads": pads, "strides": strides}
    y = ConvInteger(x, w, x_zero_point, w_zero_point, auto_pad=auto_pad, **geometry)
    if b is not None:
        y = sum_bias(y, cast(b, np.int32))
    scale = cast(x_scale, np.float32) * _spread(cast(w_scale, np.float32), y.shape, 1, 0)
    return _requantized(y, scale, y_scale, y_zero_point)


def _requantized(y, scale, y_scale, y_zero_point):
    y_scale = cast(_rows(y_scale), np.float32)
    zero = _rows(y_zero_point)
    return _clipped(jnp.rint(y.astype(np.float32) * (scale / y_scale)), zero, y_zero_point.dtype)


# What onnxruntime's own quantiser writes besides, in a domain of its own.


def _element_by_element(name, function):
    def apply(a, a_scale, a_zero_point, b, b_scale, b_zero_point, y_scale, y_zero_point=None):
        y = function(
            DequantizeLinear(a, a_scale, a_zero_point), DequantizeLinear(b, b_scale, b_zero_point)
        )
        return QuantizeLinear(y, y_scale, y_zero_point)

    op(name, domain="com.microsoft")(apply)


_element_by_element("QLinearAdd", jnp.add)
_element_by_element("QLinearMul", jnp.multiply)


@op("QLinearGlobalAveragePool", domain="com.microsoft")
def QLinearGlobalAveragePool(x, x_scale, x_zero_point, y_scale, y_zero_point, *, channels_last=0):
    axes = tuple(range(1, x.ndim - 1)) if channels_last else tuple(range(2, x.ndim))
    mean = jnp.mean(DequantizeLinear(x, x_scale, x_zero_point), axes, keepdims=True)
    return QuantizeLinear(mean, y_scale, y_zero_point)

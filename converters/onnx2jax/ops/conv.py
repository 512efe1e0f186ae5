"""Convolution; how it is computed is the business of `lowering`."""

from __future__ import annotations

import numpy as np

from onnx2jax.lowering.conv import convolve
from onnx2jax.ops.window import resolve_pads
from onnx2jax.registry import op
from onnx2jax.values import align


@op("Conv")
def Conv(
    x,
    w,
    b=None,
    *,
    auto_pad="NOTSET",
    dilations=None,
    group=1,
    kernel_shape=None,
    pads=None,
    strides=None,
    ctx,
):
    kernel = tuple(kernel_shape or np.shape(w)[2:])
    if kernel != np.shape(w)[2:]:
        raise ValueError(f"kernel_shape {kernel} is not that of the weights, {np.shape(w)}")
    rank = len(kernel)
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    padding = resolve_pads(auto_pad, pads, x.shape[2:], kernel, strides, dilations)
    y = convolve(x, w, strides, padding, dilations, group, ctx.target)
    if b is None:
        return y
    return sum_bias(y, b)


def sum_bias(y, b):
    """Add a bias (C,) to channels."""
    y, b = align(y, b.reshape((-1,) + (1,) * (y.ndim - 2)))
    return y + b

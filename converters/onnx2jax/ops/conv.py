"""Convolution; how it is computed on a CPU is the business of `lowering`."""

from __future__ import annotations

from functools import partial

import jax
import numpy as np
from jax import lax
from jax.core import Tracer

from onnx2jax.lowering.channels_last import channels_last
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
    # Under a trace the whole program is rewritten (`Model`); outside one nothing else would.
    alone = ctx.target == "cpu" and not isinstance(x, Tracer) and not isinstance(w, Tracer)
    convolve = _convolve_alone if alone else _convolve
    y = convolve(x, w, tuple(strides), tuple(map(tuple, padding)), tuple(dilations), group)
    if b is None:
        return y
    return sum_bias(y, b)


def _convolve(x, w, strides, padding, dilations, groups):
    return lax.conv_general_dilated(
        x, w, strides, padding, rhs_dilation=dilations, feature_group_count=groups
    )


@partial(jax.jit, static_argnums=(2, 3, 4, 5))
def _convolve_alone(x, w, *geometry):
    return channels_last(lambda x, w: _convolve(x, w, *geometry))(x, w)


def sum_bias(y, b):
    """Add a bias (C,) to channels."""
    y, b = align(y, b.reshape((-1,) + (1,) * (y.ndim - 2)))
    return y + b

"""Convolution; how it is computed on a CPU is the business of `lowering`."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from onnx2jax.lowering.channels_last import channels_last
from onnx2jax.ops.elementwise import add
from onnx2jax.ops.window import resolve, resolve_pads
from onnx2jax.registry import op
from onnx2jax.values import align, ints


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
    geometry = resolve(x.shape[2:], kernel, auto_pad, pads, strides, dilations)
    # Under a trace the whole program is rewritten (`Model`); outside one nothing else would.
    alone = ctx.target == "cpu" and not isinstance(x, Tracer) and not isinstance(w, Tracer)
    y = (_convolve_alone if alone else convolve)(x, w, *geometry, group)
    return y if b is None else sum_bias(y, b)


@op("ConvTranspose")
def ConvTranspose(
    x,
    w,
    b=None,
    *,
    auto_pad="NOTSET",
    dilations=None,
    group=1,
    kernel_shape=None,
    output_padding=None,
    output_shape=None,
    pads=None,
    strides=None,
):
    """w (C, features ÷ groups, k1 …): the pullback of a convolution with that kernel."""
    kernel = np.shape(w)[2:]
    rank = len(kernel)
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    extra = output_padding or [0] * rank
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    full = [
        s * (n - 1) + o + e for s, n, o, e in zip(strides, x.shape[2:], extra, extents, strict=True)
    ]
    if auto_pad.startswith("SAME") and output_shape is None:
        output_shape = [n * s for n, s in zip(x.shape[2:], strides, strict=True)]
    if output_shape is not None:
        totals = [f - n for f, n in zip(full, output_shape[-rank:], strict=True)]
        halves = [(t // 2, t - t // 2) for t in totals]
        padding = halves if auto_pad == "SAME_UPPER" else [(high, low) for low, high in halves]
    else:
        padding = resolve_pads(auto_pad, pads, x.shape[2:], kernel, strides, dilations)
    around = [
        (e - 1 - low, e - 1 - high + o)
        for e, (low, high), o in zip(extents, padding, extra, strict=True)
    ]
    # Output features first, groups outermost, the kernel turned round.
    w = jnp.asarray(w).reshape(group, -1, *np.shape(w)[1:]).swapaxes(1, 2)
    w = jnp.flip(w.reshape(-1, *w.shape[2:]), tuple(range(2, 2 + rank)))
    y = lax.conv_general_dilated(
        jnp.asarray(x),
        w,
        (1,) * rank,
        around,
        lhs_dilation=strides,
        rhs_dilation=dilations,
        feature_group_count=group,
    )
    return y if b is None else sum_bias(y, b)


@op("Col2Im", 18, static=("image_shape", "block_shape"))
def Col2Im(x, image_shape, block_shape, *, dilations=None, pads=None, strides=None):
    """Blocks (N, C · block, L), laid over an image and summed: (N, C, D1 …)."""
    image, block = ints(image_shape), ints(block_shape)
    rank = len(image)
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    pads = pads or [0] * 2 * rank
    padded = [n + pads[i] + pads[i + rank] for i, n in enumerate(image)]
    counts = [
        (n - (k - 1) * d - 1) // s + 1
        for n, k, d, s in zip(padded, block, dilations, strides, strict=True)
    ]
    x = jnp.asarray(x).reshape(x.shape[0], -1, int(np.prod(block)), *counts)
    total = jnp.zeros((*x.shape[:2], *padded), x.dtype)
    for i, tap in enumerate(np.ndindex(*block)):
        edges = [(0, 0, 0), (0, 0, 0)]
        for n, t, d, s, c in zip(padded, tap, dilations, strides, counts, strict=True):
            edges.append((t * d, n - t * d - (c - 1) * s - 1, s - 1))
        total = total + lax.pad(x[:, :, i], jnp.zeros((), x.dtype), edges)
    inside = tuple(slice(pads[i], pads[i] + n) for i, n in enumerate(image))
    return total[(slice(None), slice(None), *inside)]


def convolve(x, w, strides, padding, dilations, groups):
    """A convolution without a bias, of any type of numbers."""
    return lax.conv_general_dilated(
        x, w, strides, padding, rhs_dilation=dilations, feature_group_count=groups
    )


@partial(jax.jit, static_argnums=(2, 3, 4, 5))
def _convolve_alone(x, w, *geometry):
    return channels_last(lambda x, w: convolve(x, w, *geometry))(x, w)


def sum_bias(y, b):
    """Add a bias (C,) to channels."""
    y, b = align(y, b.reshape((1, -1) + (1,) * (y.ndim - 2)))
    return add(y, b)

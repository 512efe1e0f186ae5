"""Normalisation, as in inference."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from onnx2jax.errors import UnsupportedModelError
from onnx2jax.ops.elementwise import add, mul
from onnx2jax.registry import op
from onnx2jax.values import is_static, traced_once


def _on_channels(values, rank):
    """(C,), or (C, D1 …) as `spatial=0` means it, against (N, C, D1 …)."""
    units = max(rank - 1 - values.ndim, 0)
    return values.reshape(1, *values.shape, *(1,) * units) if rank > 1 else values


@op("BatchNormalization", 1)
def BatchNormalization_1(
    x,
    scale,
    bias,
    mean,
    var,
    *,
    epsilon=1e-5,
    momentum=0.9,
    spatial=1,
    is_test=0,
    ctx,
):
    """`spatial=0` has statistics per element; MXNet writes it and means per channel."""
    return BatchNormalization(x, scale, bias, mean, var, epsilon=epsilon, ctx=ctx)


@op("BatchNormalization", 9)
def BatchNormalization(
    x, scale, bias, mean, var, *, epsilon=1e-5, momentum=0.9, training_mode=0, ctx
):
    if training_mode:
        return _trained(x, scale, bias, mean, var, epsilon, momentum)[: ctx.n_outputs]
    if ctx.n_outputs > 1:
        raise UnsupportedModelError("BatchNormalization with saved statistics is not supported")
    # One multiplication and one addition a pixel: what depends on weights alone comes first.
    gain, shift = _affine(scale, bias, mean, var, epsilon, x.ndim, x.dtype)
    return add(mul(x, gain), shift)


@partial(traced_once, static_argnums=(4, 5, 6))
def _affine(scale, bias, mean, var, epsilon, rank, dtype):
    gain = scale / jnp.sqrt(var + epsilon)
    return tuple(_on_channels(v, rank).astype(dtype) for v in (gain, bias - mean * gain))


def _trained(x, scale, bias, mean, var, epsilon, momentum):
    """Normalized by the batch's own moments, and the running ones."""
    axes = (0, *range(2, x.ndim))
    y = _standardized(x, axes, scale, bias, epsilon).astype(x.dtype)
    pairs = ((mean, jnp.mean(x, axes)), (var, jnp.var(x, axes)))
    return (y, *((v * momentum + new * (1 - momentum)).astype(v.dtype) for v, new in pairs))


@op("LRN")
def LRN(x, *, size, alpha=1e-4, beta=0.75, bias=1.0):
    """Divided by a power of the squares of the channels around."""
    before = (size - 1) // 2
    around = [(before, size - 1 - before) if axis == 1 else (0, 0) for axis in range(x.ndim)]
    window = [size if axis == 1 else 1 for axis in range(x.ndim)]
    zero = np.zeros((), x.dtype)
    total = lax.reduce_window(jnp.square(x), zero, lax.add, window, [1] * x.ndim, around)
    return x / (bias + alpha / size * total) ** beta


@op("InstanceNormalization", 6)
def InstanceNormalization(x, scale, bias, *, epsilon=1e-5):
    return _standardized(x, tuple(range(2, x.ndim)), scale, bias, epsilon)


def _standardized(x, axes, scale, bias, epsilon):
    """Mean 0 and variance 1 over axes, then each channel's own scale and bias."""
    _, centred, variance = _moments(x, axes)
    scaled = centred * lax.rsqrt(variance + epsilon)
    return _on_channels(scale, x.ndim) * scaled + _on_channels(bias, x.ndim)


@op("LayerNormalization")
def LayerNormalization(x, scale, bias=None, *, axis=-1, epsilon=1e-5, stash_type=1, ctx):
    axes = tuple(range(axis % x.ndim, x.ndim))
    return _of_layer(x, scale, bias, axes, epsilon)[: ctx.n_outputs]


@partial(traced_once, static_argnums=(3, 4))
def _of_layer(x, scale, bias, axes, epsilon):
    """Normalized over axes, their mean, and the inverse of their deviation."""
    mean, centred, variance = _moments(x, axes)
    inverse = lax.rsqrt(variance + epsilon)
    scale = scale.reshape((1,) * (x.ndim - scale.ndim) + scale.shape)
    y = centred * inverse * scale
    if bias is not None:
        y = y + bias.reshape((1,) * (x.ndim - bias.ndim) + bias.shape)
    return y, mean, inverse


def _moments(x, axes):
    """The mean of x, x less that, and its variance."""
    mean = jnp.mean(x, axes, keepdims=True)
    centred = x - mean
    return mean, centred, jnp.mean(centred * centred, axes, keepdims=True)


@op("LpNormalization")
def LpNormalization(x, *, axis=-1, p=2):
    norm = jnp.sum(jnp.abs(x) ** p, axis, keepdims=True) ** (1 / p)
    # The specification: 0 where the norm is 0.
    return jnp.where(norm == 0, 0, x / jnp.where(norm == 0, 1, norm))


@op("Dropout", 1)
def Dropout_1(x, *, ratio=0.5, is_test=0, ctx):
    return (x, jnp.ones(x.shape, bool))[: ctx.n_outputs]


@op("Dropout", 12, static=("training_mode",))
def Dropout(x, ratio=None, training_mode=None, *, seed=None, ctx):
    rate = 0.5 if ratio is None else ratio
    drops = training_mode is not None and bool(training_mode)
    if not drops or (is_static(rate) and float(rate) == 0):
        return Dropout_1(x, ctx=ctx)
    kept = jax.random.bernoulli(ctx.random_key(seed), 1 - rate, x.shape)
    return (jnp.where(kept, x / (1 - rate), 0).astype(x.dtype), kept)[: ctx.n_outputs]

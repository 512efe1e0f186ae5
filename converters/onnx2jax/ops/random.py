"""Random numbers, from the key that the caller gives, or else from the file's seed."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from onnx2jax.registry import op
from onnx2jax.values import dtype_of


def _float(dtype, x=None):
    if dtype is None:
        return np.float32 if x is None else x.dtype
    return jax.dtypes.canonicalize_dtype(dtype_of(dtype))


@op("RandomNormal")
def RandomNormal(*, shape, dtype=1, mean=0.0, scale=1.0, seed=None, ctx):
    drawn = jax.random.normal(ctx.random_key(seed), tuple(shape), _float(dtype))
    return drawn * np.asarray(scale, drawn.dtype) + np.asarray(mean, drawn.dtype)


@op("RandomNormalLike")
def RandomNormalLike(x, *, dtype=None, mean=0.0, scale=1.0, seed=None, ctx):
    drawn = jax.random.normal(ctx.random_key(seed), np.shape(x), _float(dtype, x))
    return drawn * np.asarray(scale, drawn.dtype) + np.asarray(mean, drawn.dtype)


@op("RandomUniform")
def RandomUniform(*, shape, dtype=1, low=0.0, high=1.0, seed=None, ctx):
    return jax.random.uniform(ctx.random_key(seed), tuple(shape), _float(dtype), low, high)


@op("RandomUniformLike")
def RandomUniformLike(x, *, dtype=None, low=0.0, high=1.0, seed=None, ctx):
    return jax.random.uniform(ctx.random_key(seed), np.shape(x), _float(dtype, x), low, high)


@op("Bernoulli", 15)
def Bernoulli(x, *, dtype=None, seed=None, ctx):
    drawn = jax.random.bernoulli(ctx.random_key(seed), x)
    return drawn.astype(_float(dtype, x))


@op("Multinomial", 7)
def Multinomial(x, *, dtype=6, sample_size=1, seed=None, ctx):
    """x (batch, classes), logits."""
    shape = (sample_size, x.shape[0])
    drawn = jax.random.categorical(ctx.random_key(seed), jnp.asarray(x), -1, shape=shape)
    return drawn.T.astype(_float(dtype))

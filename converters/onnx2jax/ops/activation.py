"""Activations: element by element, with a slope or a bound of their own."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from onnx2jax.ops.elementwise import bounded
from onnx2jax.registry import op
from onnx2jax.values import align, traced_once


@op("Relu")
def Relu(x):
    return bounded(x, np.zeros((), x.dtype), lax.le)


@op("LeakyRelu")
def LeakyRelu(x, *, alpha=0.01):
    return _leaky(x, np.asarray(alpha, x.dtype))


@op("PRelu")
def PRelu(x, slope):
    x, slope = align(x, _per_channel(slope, np.shape(x)))
    return _leaky(x, slope)


@traced_once
def _leaky(x, slope):
    # A product with what does not depend on a cotangent: its pullback is one product as well, and
    # all that it keeps is the choice. At 0 its slope is the lower one, as PyTorch's.
    slope = jnp.broadcast_to(jnp.asarray(slope, x.dtype), x.shape)
    return x * lax.select(x <= 0, slope, lax.full_like(x, 1))


def _per_channel(slope, shape):
    """A slope (C,) belongs to x's channels, as MXNet exports it.

    ONNX's own broadcasting would put it on the last axis; it is read so only where it does not
    fit the channels.
    """
    if np.ndim(slope) == 1 and len(shape) > 2 and slope.shape[0] == shape[1]:
        return slope.reshape((-1,) + (1,) * (len(shape) - 2))
    return slope


@op("Shrink", 9)
def Shrink(x, *, bias=0.0, lambd=0.5):
    moved = jnp.where(x < -lambd, x + bias, jnp.where(x > lambd, x - bias, 0))
    return moved.astype(x.dtype)


@op("Sigmoid")
def Sigmoid(x):
    return jax.nn.sigmoid(x)


@op("HardSigmoid")
def HardSigmoid(x, *, alpha=0.2, beta=0.5):
    return jnp.clip(alpha * x + beta, 0, 1)


@op("HardSwish")
def HardSwish(x):
    return x * HardSigmoid(x, alpha=1 / 6, beta=0.5)


@op("Elu")
def Elu(x, *, alpha=1.0):
    return jax.nn.elu(x, alpha)


@op("Celu")
def Celu(x, *, alpha=1.0):
    return jax.nn.celu(x, alpha)


@op("Selu")
def Selu(x, *, alpha=1.67326319217681884765625, gamma=1.05070102214813232421875):
    return gamma * jax.nn.elu(x, alpha)


@op("Softplus")
def Softplus(x):
    return jax.nn.softplus(x)


@op("Softsign")
def Softsign(x):
    return x / (1 + jnp.abs(x))


@op("ThresholdedRelu")
def ThresholdedRelu(x, *, alpha=1.0):
    return jnp.where(x > alpha, x, jnp.zeros((), x.dtype))


@op("Mish")
def Mish(x):
    return x * jnp.tanh(jax.nn.softplus(x))


@op("Swish")
def Swish(x, *, alpha=1.0):
    return x * jax.nn.sigmoid(alpha * x)


@op("Gelu")
def Gelu(x, *, approximate="none"):
    return jax.nn.gelu(x, approximate=approximate == "tanh")


@op("Softmax", 1)
def Softmax_1(x, *, axis=1):
    return _softmax_2d(Softmax, x, axis)


@op("Softmax", 13)
def Softmax(x, *, axis=-1):
    return _softmax(x, axis)


@partial(traced_once, static_argnums=1)
def _softmax(x, axis):
    return jax.nn.softmax(_shifted(x, axis), axis)


@op("LogSoftmax", 1)
def LogSoftmax_1(x, *, axis=1):
    return _softmax_2d(LogSoftmax, x, axis)


@op("LogSoftmax", 13)
def LogSoftmax(x, *, axis=-1):
    return jax.nn.log_softmax(_shifted(x, axis), axis)


def _shifted(x, axis):
    """x less its maximum, which softmax takes off once more.

    XLA may round x otherwise beside its maximum (a factor fused into the subtraction is not rounded
    at all), so that for x of 1e10 no difference is 0 and every exponential vanishes.
    """
    return x - lax.stop_gradient(jnp.max(x, axis, keepdims=True))


@op("Hardmax", 1)
def Hardmax_1(x, *, axis=1):
    return _softmax_2d(Hardmax, x, axis)


@op("Hardmax", 13)
def Hardmax(x, *, axis=-1):
    return jax.nn.one_hot(jnp.argmax(x, axis), x.shape[axis], axis=axis, dtype=x.dtype)


def _softmax_2d(function, x, axis):
    """Before opset 13 everything from `axis` on is one flattened axis."""
    axis %= max(x.ndim, 1)
    rows = int(np.prod(x.shape[:axis], dtype=np.int64))
    return function(x.reshape(rows, -1), axis=-1).reshape(x.shape)

"""ONNX's preview of training: one step of an optimiser, and gradients of a part of the graph."""

from __future__ import annotations

import functools

import jax.numpy as jnp

from onnx2jax.registry import op

_op = functools.partial(op, domain="ai.onnx.preview.training")


@_op("Gradient")
def Gradient(*values, xs, y, zs=None, ctx):
    count = len(xs)
    names = [*xs, *(zs or [])]
    return ctx.gradient(y, names, values)[:count]


def _columns(values, count):
    """Per tensor its value, gradient and states: ONNX lists all values, then all gradients …"""
    tensors = len(values) // count
    return list(zip(*(values[i * tensors : (i + 1) * tensors] for i in range(count)), strict=True))


def _listed(rows):
    return tuple(v for column in zip(*rows, strict=True) for v in column)


@_op("Adagrad")
def Adagrad(r, t, *values, decay_factor=0.0, epsilon=1e-6, norm_coefficient=0.0):
    rate = r / (1 + t * decay_factor)
    rows = []
    for x, gradient, squares in _columns(values, 3):
        gradient = norm_coefficient * x + gradient
        squares = squares + gradient * gradient
        rows.append((x - rate * gradient / (jnp.sqrt(squares) + epsilon), squares))
    return tuple(v.astype(values[0].dtype) for v in _listed(rows))


@_op("Adam")
def Adam(
    r,
    t,
    *values,
    alpha=0.9,
    beta=0.999,
    epsilon=1e-8,
    norm_coefficient=0.0,
    norm_coefficient_post=0.0,
):
    rows = []
    for x, gradient, mean, squares in _columns(values, 4):
        gradient = norm_coefficient * x + gradient
        mean = alpha * mean + (1 - alpha) * gradient
        squares = beta * squares + (1 - beta) * gradient * gradient
        step = jnp.maximum(t, 1)  # at 0 nothing is corrected
        rate = jnp.where(t > 0, r * jnp.sqrt(1 - beta**step) / (1 - alpha**step), r)
        x = x - rate * mean / (jnp.sqrt(squares) + epsilon)
        rows.append(((1 - norm_coefficient_post) * x, mean, squares))
    return tuple(v.astype(values[0].dtype) for v in _listed(rows))


@_op("Momentum")
def Momentum(r, t, *values, alpha, beta, mode, norm_coefficient):
    rows = []
    for x, gradient, velocity in _columns(values, 3):
        gradient = norm_coefficient * x + gradient
        velocity = alpha * velocity + jnp.where(t > 0, beta, 1) * gradient
        step = gradient + alpha * velocity if mode == "nesterov" else velocity
        rows.append((x - r * step, velocity))
    return tuple(v.astype(values[0].dtype) for v in _listed(rows))

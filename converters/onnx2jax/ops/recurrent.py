"""RNN, GRU and LSTM: a step, scanned over time in one direction or both."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from onnx2jax.registry import op


@op("RNN", 7)
def RNN(
    x,
    w,
    r,
    b=None,
    sequence_lens=None,
    initial_h=None,
    *,
    activation_alpha=None,
    activation_beta=None,
    activations=None,
    clip=None,
    direction="forward",
    hidden_size=None,
    layout=0,
    ctx,
):
    def step(weights, functions, state, x):
        (h,), (w, r, b) = state, weights
        (f,) = functions
        return (f(x @ w.T + h @ r.T + b[0] + b[1]),)

    given = (activations, activation_alpha, activation_beta, clip)
    functions = _functions(["Tanh"], direction, *given)
    states = (initial_h,)
    return _recurrent(step, functions, x, (w, r), b, sequence_lens, states, direction, layout, ctx)


@op("GRU", 7)
def GRU(
    x,
    w,
    r,
    b=None,
    sequence_lens=None,
    initial_h=None,
    *,
    activation_alpha=None,
    activation_beta=None,
    activations=None,
    clip=None,
    direction="forward",
    hidden_size=None,
    layout=0,
    linear_before_reset=0,
    ctx,
):
    def step(weights, functions, state, x):
        """The update gate z, the reset gate r and the candidate, in ONNX's order z, r, h."""
        (h,), (w, r, b), (f, g) = state, weights, functions
        x_z, x_r, x_h = jnp.split(x @ w.T, 3, -1)
        (w_z, w_r, w_h), (r_z, r_r, r_h) = jnp.split(b[0], 3), jnp.split(b[1], 3)
        to_z, to_r, to_h = jnp.split(r, 3)
        update = f(x_z + h @ to_z.T + w_z + r_z)
        reset = f(x_r + h @ to_r.T + w_r + r_r)
        if linear_before_reset:
            candidate = g(x_h + reset * (h @ to_h.T + r_h) + w_h)
        else:
            candidate = g(x_h + (reset * h) @ to_h.T + r_h + w_h)
        return ((1 - update) * candidate + update * h,)

    given = (activations, activation_alpha, activation_beta, clip)
    functions = _functions(["Sigmoid", "Tanh"], direction, *given)
    states = (initial_h,)
    return _recurrent(step, functions, x, (w, r), b, sequence_lens, states, direction, layout, ctx)


@op("LSTM", 7)
def LSTM(
    x,
    w,
    r,
    b=None,
    sequence_lens=None,
    initial_h=None,
    initial_c=None,
    p=None,
    *,
    activation_alpha=None,
    activation_beta=None,
    activations=None,
    clip=None,
    direction="forward",
    hidden_size=None,
    input_forget=0,
    layout=0,
    ctx,
):
    directions, _, hidden = np.shape(r)
    p = jnp.zeros((directions, 3 * hidden), x.dtype) if p is None else p

    def step(weights, functions, state, x):
        """The gates are in ONNX's order i, o, f, c; the peepholes in i, o, f."""
        (h, c), (w, r, p, b), (f, g, k) = state, weights, functions
        i, o, forget, cell = jnp.split(x @ w.T + h @ r.T + b[0] + b[1], 4, -1)
        p_i, p_o, p_f = jnp.split(p, 3)
        i = f(i + p_i * c)
        forget = 1 - i if input_forget else f(forget + p_f * c)
        c = forget * c + i * g(cell)
        return f(o + p_o * c) * k(c), c

    given = (activations, activation_alpha, activation_beta, clip)
    functions = _functions(["Sigmoid", "Tanh", "Tanh"], direction, *given)
    states, weights = (initial_h, initial_c), (w, r, p)
    return _recurrent(step, functions, x, weights, b, sequence_lens, states, direction, layout, ctx)


def _recurrent(step, functions, x, weights, b, lengths, states, direction, layout, ctx):
    """All directions: Y (time, directions, batch, hidden), and the last of each state."""
    x = jnp.asarray(x)
    if layout:  # batch first
        x = x.swapaxes(0, 1)
        states = tuple(s if s is None else s.swapaxes(0, 1) for s in states)
    r = weights[1]
    directions, gates, hidden = np.shape(r)
    b = jnp.zeros((directions, 2 * gates), x.dtype) if b is None else b
    weights = (*weights, b.reshape(directions, 2, gates))
    zeros = jnp.zeros((directions, x.shape[1], hidden), x.dtype)
    states = tuple(zeros if s is None else s for s in states)
    ways = []
    for i in range(directions):
        backwards = direction == "reverse" or i == 1
        one = partial(step, tuple(v[i] for v in weights), functions[i])
        ways.append(_scanned(one, x, tuple(s[i] for s in states), lengths, backwards))
    ys, last = zip(*ways, strict=True)
    y = jnp.stack(ys, 1)
    last = tuple(jnp.stack(parts) for parts in zip(*last, strict=True))
    if layout:
        y = y.transpose(2, 0, 1, 3)
        last = tuple(v.swapaxes(0, 1) for v in last)
    return (y, *last)[: ctx.n_outputs]


def _scanned(step, x, state, lengths, backwards):
    """One direction; a sequence that has ended keeps its state and gives zeros."""
    if lengths is None:
        alive = None
    else:
        alive = jnp.arange(x.shape[0])[:, None, None] < jnp.asarray(lengths)[:, None]

    def advance(state, inputs):
        x, alive = inputs
        after = step(state, x)
        if alive is None:
            return after, after[0]
        kept = tuple(jnp.where(alive, new, old) for new, old in zip(after, state, strict=True))
        return kept, jnp.where(alive, after[0], 0)

    # Backwards, what lies behind a sequence's end comes first and changes nothing.
    last, y = lax.scan(advance, state, (x, alive), reverse=backwards)
    return y, last


def _affine(x, alpha, beta):
    return alpha * x + beta


# Each with its own alpha and beta, where it has any.
_ACTIVATIONS = {
    "relu": (lambda x, a, b: jax.nn.relu(x), None, None),
    "tanh": (lambda x, a, b: jnp.tanh(x), None, None),
    "sigmoid": (lambda x, a, b: jax.nn.sigmoid(x), None, None),
    "softsign": (lambda x, a, b: jax.nn.soft_sign(x), None, None),
    "softplus": (lambda x, a, b: jax.nn.softplus(x), None, None),
    "affine": (_affine, 1.0, 0.0),
    "leakyrelu": (lambda x, a, b: jnp.where(x < 0, a * x, x), 0.01, None),
    "thresholdedrelu": (lambda x, a, b: jnp.where(x > a, x, 0), 1.0, None),
    "scaledtanh": (lambda x, a, b: a * jnp.tanh(b * x), 1.0, 1.0),
    "hardsigmoid": (lambda x, a, b: jnp.clip(a * x + b, 0, 1), 0.2, 0.5),
    "elu": (lambda x, a, b: jax.nn.elu(x, a), 1.0, None),
}


def _functions(defaults, direction, names, alphas, betas, clip):
    """The activations of each direction; alphas and betas are consumed by those that have any."""
    ways = 2 if direction == "bidirectional" else 1
    names = names or defaults * ways
    alphas, betas = list(alphas or []), list(betas or [])
    made = []
    for name in names:
        if name.lower() not in _ACTIVATIONS:
            raise ValueError(f"activation {name!r} is unknown")
        function, alpha, beta = _ACTIVATIONS[name.lower()]
        alpha = alphas.pop(0) if alphas and alpha is not None else alpha
        beta = betas.pop(0) if betas and beta is not None else beta
        made.append(partial(_clipped, function, alpha, beta, clip))
    count = len(made) // ways
    return [made[i * count : (i + 1) * count] for i in range(ways)]


def _clipped(function, alpha, beta, clip, x):
    return function(x if clip is None else jnp.clip(x, -clip, clip), alpha, beta)

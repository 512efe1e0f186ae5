"""Branches and loops.

What is known when the program is traced is decided then: a branch is picked, a short loop unrolled.
The rest becomes `lax.cond`, `lax.scan` and `lax.while_loop`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from onnx2jax.errors import DataDependentError
from onnx2jax.graph import Node
from onnx2jax.registry import op

UNROLLED = 8  # iterations; longer loops are scanned, where their state keeps its shape


@op("If")
def If(cond, *, then_branch, else_branch, ctx):
    if not isinstance(cond, Tracer):
        return ctx.call(then_branch if _truth(cond) else else_branch)
    branches = (lambda: _arrays(ctx.call(then_branch)), lambda: _arrays(ctx.call(else_branch)))
    shapes = [jax.eval_shape(branch) for branch in branches]
    if shapes[0] != shapes[1]:
        raise DataDependentError(
            f"its branches give {shapes[0]} and {shapes[1]}, and its condition is traced: close "
            "over the condition's value, or call the model outside jit"
        )
    return lax.cond(cond.reshape(()), *branches)


def _loop_static(node: Node) -> list[str]:
    """How often a loop runs decides a shape where it has outputs for each iteration."""
    states = len(node.inputs) - 2
    per_iteration = len(node.attributes["body"].outputs) - 1 - states
    return [name for name in node.inputs[:2] if name] if per_iteration else []


@op("Loop", static=_loop_static)
def Loop(M=None, cond=None, *state, body, ctx):
    if isinstance(M, Tracer) or isinstance(cond, Tracer):
        return _while(M, cond, state, body, ctx)
    limit = None if M is None else int(np.asarray(M).reshape(()))
    go = cond is None or _truth(cond)
    rows, i = [], 0
    while go and (limit is None or i < limit):
        # Asked once: a state that grows would be traced twice in each iteration.
        if i == 1 and limit is not None and limit > UNROLLED + 1 and _is_steady(body, state, ctx):
            return _scanned(limit - i, i, state, rows, body, ctx)
        go, state, row = _iterate(i, np.asarray(True), state, body, ctx)
        rows.append(row)
        i += 1
        if isinstance(go, Tracer):
            if row:
                raise DataDependentError(
                    "whether it goes on depends on traced values, and so does the size of what it "
                    "gives for each iteration: call the model outside jit"
                )
            left = None if limit is None else np.asarray(limit - i)
            return _while(left, go, state, body, ctx, first=i)
        go = _truth(go)
    return (*state, *_stacked(rows, body, len(state)))


def _truth(value):
    """A condition that is known, which may have one dimension."""
    return bool(np.asarray(value).reshape(()))


def _iterate(i, cond, state, body, ctx):
    """One iteration: whether to go on, the state, and what it gives for itself."""
    go, *rest = ctx.call(body, np.asarray(i) if isinstance(i, int) else i, cond, *state, step=i)
    return go, tuple(rest[: len(state)]), tuple(rest[len(state) :])


def _stacked(rows, body, states):
    """What all iterations gave, one array an output; of no iteration as the body declares it."""
    if rows:
        return tuple(jnp.stack(column) for column in zip(*rows, strict=True))
    specs = body.outputs[1 + states :]
    dims = [[d if isinstance(d, int) else 0 for d in spec.shape or ()] for spec in specs]
    return tuple(jnp.zeros((0, *d), s.dtype) for s, d in zip(specs, dims, strict=True))


def _is_steady(body, state, ctx):
    """Whether the body always goes on and leaves its state's shapes and dtypes as they are."""
    went_on = []

    def step(i, state):
        go, state, _ = _iterate(i, np.asarray(True), state, body, ctx)
        went_on.append(not isinstance(go, Tracer) and _truth(go))
        return _arrays(state)

    try:
        before = jax.eval_shape(_arrays, state)
        after = jax.eval_shape(step, jnp.asarray(0), _arrays(state))
    except DataDependentError:  # it needs its counter as a number
        return False
    return went_on[0] and jax.tree.leaves(before) == jax.tree.leaves(after)


def _scanned(length, first, state, rows, body, ctx):
    """The last iterations of a steady loop."""

    def step(state, i):
        _, state, row = _iterate(i, np.asarray(True), state, body, ctx)
        return _arrays(state), _arrays(row)

    state, more = lax.scan(step, _arrays(state), first + jnp.arange(length))
    start = _stacked(rows, body, len(state))
    return (*state, *(jnp.concatenate(pair) for pair in zip(start, more, strict=True)))


def _while(M, cond, state, body, ctx, first=0):
    """A loop whose end is not known; it gives its last state alone."""
    state = _arrays(state)
    start = (jnp.asarray(0), jnp.asarray(True if cond is None else cond).reshape(()), state)

    def goes_on(carry):
        i, go, _ = carry
        return go if M is None else go & (i < jnp.asarray(M).reshape(()))

    def step(carry):
        i, go, state = carry
        go, after, _ = _iterate(first + i, go, state, body, ctx)
        return i + 1, jnp.asarray(go).reshape(()).astype(bool), _arrays(after)

    before, after = jax.eval_shape(lambda s: s, start), jax.eval_shape(step, start)
    if jax.tree.leaves(before) != jax.tree.leaves(after):
        raise DataDependentError(
            "its state changes shape from one iteration to the next, and its end is traced: call "
            "the model outside jit"
        )
    return lax.while_loop(goes_on, step, start)[2]


@op("Scan", 8)
def Scan_8(sequence_lens=None, *values, body, num_scan_inputs, directions=None, ctx):
    """Opset 8 has a batch in front; sequence lengths of it are not known to any exporter."""
    if sequence_lens is not None:
        raise NotImplementedError("Scan-8 with sequence_lens is not supported")

    def one(*row):
        options = {"scan_input_directions": directions, "ctx": ctx}
        return Scan(*row, body=body, num_scan_inputs=num_scan_inputs, **options)

    return jax.vmap(one)(*values)


@op("Scan", 9)
def Scan(
    *values,
    body,
    num_scan_inputs,
    scan_input_axes=None,
    scan_input_directions=None,
    scan_output_axes=None,
    scan_output_directions=None,
    ctx,
):
    states = len(values) - num_scan_inputs
    outputs = len(body.outputs) - states
    state, xs = values[:states], values[states:]
    axes = scan_input_axes or [0] * len(xs)
    flips = scan_input_directions or [0] * len(xs)
    xs = tuple(_led(x, a, f) for x, a, f in zip(xs, axes, flips, strict=True))

    def step(carry, inputs):
        i, state = carry
        results = _arrays(ctx.call(body, *state, *inputs, step=i))
        return (i + 1, results[:states]), results[states:]

    (_, state), ys = lax.scan(step, (jnp.asarray(0), _arrays(state)), xs)
    axes = scan_output_axes or [0] * outputs
    flips = scan_output_directions or [0] * outputs
    ys = (jnp.flip(y, 0) if f else y for y, f in zip(ys, flips, strict=True))
    ys = (jnp.moveaxis(y, 0, a) for y, a in zip(ys, axes, strict=True))
    return (*state, *ys)


def _led(x, axis, flip):
    """x with its scanned axis first, in the order in which it is scanned."""
    x = jnp.moveaxis(jnp.asarray(x), axis, 0)
    return jnp.flip(x, 0) if flip else x


def _arrays(values):
    """Values as JAX's control flow takes them."""
    return jax.tree.map(jnp.asarray, tuple(values))

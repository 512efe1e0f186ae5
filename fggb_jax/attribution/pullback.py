"""Pullbacks of a network's stage that are ready for many cotangents, for CPUs.

N cotangents go back through one forward pass. Whatever in the backward pass does not depend on
them, masks, transposed kernels, Winograd's transforms of these, is computed once, with the forward
pass; the rest runs channels last (`onnx2jax.lowering.channels_last`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.extend import core as jex

from onnx2jax.lowering.channels_last import Placed, bind, placed, read, run, shape_of


@dataclass(frozen=True, eq=False)  # compared by identity, so that jit finds it fast
class Program:
    """Equations from inputs to one output; `memory` reads it as it reads a jaxpr.

    Attributes:
        eqns: in order.
        residuals: the variables that the forward pass has computed.
        cotangent: the variable that the program is a function of.
        result: its only output.
    """

    eqns: tuple[jex.JaxprEqn, ...]
    residuals: tuple[Any, ...]
    cotangent: Any
    result: Any

    @property
    def outvars(self) -> tuple[Any, ...]:
        return (self.result,)


@jax.tree_util.register_pytree_node_class
class Pullback:
    """A linear function of one cotangent, its residuals being leaves of a pytree."""

    def __init__(self, program: Program, residuals: Sequence[Any]) -> None:
        self.program = program
        self.residuals = tuple(residuals)

    def __call__(self, cotangent: Any) -> Any:
        values = dict(zip(self.program.residuals, self.residuals, strict=True))
        values[self.program.cotangent] = cotangent
        _evaluate(self.program.eqns, values)
        return _value(values, self.program.result)

    def tree_flatten(self) -> tuple[tuple[Any, ...], Program]:
        return self.residuals, self.program

    @classmethod
    def tree_unflatten(cls, program: Program, residuals: Sequence[Any]) -> Pullback:
        return cls(program, residuals)


def prepare(
    function: Callable[[Any], Any], x: Placed, finish: Callable[[Any], Any] | None = None
) -> tuple[Placed, Pullback]:
    """Evaluate a function of one array, and make its pullback ready.

    Args:
        function: pure; array → array.
        x: its argument.
        finish: applied to what is pulled back, in x's own order of axes.

    Returns:
        The result, and the pullback: a cotangent that lies in memory as the result does → one that
        lies as x does, or what `finish` makes of it.
    """
    argument = jax.ShapeDtypeStruct(x.shape, x.array.dtype)

    def both(x: Any, cotangent: Any) -> Any:
        y, pull = jax.vjp(function, x)
        return y, *pull(cotangent)

    closed = jax.make_jaxpr(both)(argument, jax.eval_shape(function, argument))
    early, late = _divide(closed.jaxpr)
    values = dict(zip(closed.jaxpr.constvars, map(placed, closed.consts), strict=True))
    values[closed.jaxpr.invars[0]] = x
    run(early, values)  # without Winograd: masks and embedding have the network's own rounding
    y = read(values, closed.jaxpr.outvars[0])
    orders = [values[v].order for v in late.residuals]

    def backward(residuals: Sequence[Any], cotangent: Any) -> Any:
        given = map(Placed, residuals, orders)
        inner = dict(zip(late.residuals, given, strict=True))
        inner[late.cotangent] = Placed(cotangent, y.order)
        run(late.eqns, inner, winograd=True)
        found = read(inner, late.result)
        return finish(found.plain) if finish else found.lying(x.order)

    return y, _prepared(backward, [values[v].array for v in late.residuals], y.array)


def _prepared(
    backward: Callable[..., Any], residuals: Sequence[Any], cotangent: jax.Array
) -> Pullback:
    """A function of residuals and a cotangent, what depends on the residuals alone computed."""
    shape = jax.ShapeDtypeStruct(cotangent.shape, cotangent.dtype)
    closed = jax.make_jaxpr(backward)(residuals, shape)
    early, late = _divide(closed.jaxpr)
    known = (*closed.jaxpr.constvars, *closed.jaxpr.invars[:-1])
    values = dict(zip(known, (*closed.consts, *residuals), strict=True))
    _evaluate(early, values)
    return Pullback(late, [values[v] for v in late.residuals])


def _divide(jaxpr: jex.Jaxpr) -> tuple[list[jex.JaxprEqn], Program]:
    """What does not depend on the last argument, and the program of the last result, which does."""
    moved, wanted = {jaxpr.invars[-1]}, set(_variables(jaxpr.outvars[-1:]))
    for eqn in jaxpr.eqns:
        if not moved.isdisjoint(_variables(eqn.invars)):
            moved.update(eqn.outvars)
    late = []
    for eqn in reversed(jaxpr.eqns):
        depends = not moved.isdisjoint(eqn.outvars)
        if (depends or _is_cheap(eqn)) and not wanted.isdisjoint(eqn.outvars):
            late.append(eqn)
            wanted = wanted.difference(eqn.outvars).union(_variables(eqn.invars))
    # In the order of their use, which no process changes: a compiled program is found again by it.
    read_late = _variables([*(v for eqn in reversed(late) for v in eqn.invars), jaxpr.outvars[-1]])
    wanted = wanted.difference(jaxpr.invars[-1:])
    residuals = tuple(dict.fromkeys(v for v in read_late if v in wanted))
    wanted = set(residuals).union(_variables(jaxpr.outvars[:-1]))
    early = []
    for eqn in reversed(jaxpr.eqns):
        if not wanted.isdisjoint(eqn.outvars):
            early.append(eqn)
            wanted.update(_variables(eqn.invars))
    program = Program(tuple(late[::-1]), residuals, jaxpr.invars[-1], jaxpr.outvars[-1])
    return early[::-1], program


def _is_cheap(eqn: jex.JaxprEqn) -> bool:
    """Whether a value is better made anew than kept: XLA never stores a broadcast."""
    if eqn.primitive.name == "iota":
        return True
    if eqn.primitive.name != "broadcast_in_dim":
        return False
    before, after = (np.prod(shape_of(v).shape) for v in (eqn.invars[0], eqn.outvars[0]))
    return bool(before < after)


def _variables(atoms: Sequence[Any]) -> list[Any]:
    return [v for v in atoms if not isinstance(v, jex.Literal)]


def _evaluate(equations: Sequence[jex.JaxprEqn], values: dict[Any, Any]) -> None:
    for eqn in equations:
        found = bind(eqn, [_value(values, v) for v in eqn.invars])
        values.update(zip(eqn.outvars, found, strict=True))


def _value(values: dict[Any, Any], atom: Any) -> Any:
    return atom.val if isinstance(atom, jex.Literal) else values[atom]

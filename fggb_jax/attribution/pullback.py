"""Pullbacks of a network's stage that are ready for many cotangents.

N cotangents go back through one forward pass. Whatever in the backward pass does not depend on
them, masks, transposed kernels with the normalizations beside them, Winograd's transforms of these,
is computed once, with the forward pass; the rest runs channels last
(`onnx2jax.lowering.channels_last`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.extend import core as jex

from onnx2jax.lowering.channels_last import (
    Placed,
    bind,
    parameter,
    placed,
    read,
    run,
    shape_of,
)
from onnx2jax.lowering.conv import Form

WINOGRAD = Form(winograd=4)


@dataclass(frozen=True, eq=False)  # compared by identity, so that jit finds it fast
class Program:
    """Equations from arguments to results; `memory` reads it as it reads a jaxpr.

    Attributes:
        eqns: in order.
        kernels: the variables that come from the network's parameters alone.
        residuals: those that the image's forward pass has computed.
        arguments: the variables that the program is a function of: a pullback's cotangent.
        outvars: its results.
    """

    eqns: tuple[jex.JaxprEqn, ...]
    kernels: tuple[Any, ...]
    residuals: tuple[Any, ...]
    arguments: tuple[Any, ...]
    outvars: tuple[Any, ...]


@jax.tree_util.register_pytree_node_class
class Pullback:
    """A linear function of one cotangent, or whatever else a program computes of its arguments.

    A pytree, whose leaves are what the program reads: `kernels`, which come from the network's
    parameters alone and are the same for every image, and `residuals`, which are the image's.
    """

    def __init__(self, program: Program, kernels: Sequence[Any], residuals: Sequence[Any]) -> None:
        self.program = program
        self.kernels = tuple(kernels)
        self.residuals = tuple(residuals)

    def __call__(self, *arguments: Any) -> Any:
        """The result; a tuple where the program has several."""
        program = self.program
        names = (*program.kernels, *program.residuals, *program.arguments)
        values = dict(zip(names, (*self.kernels, *self.residuals, *arguments), strict=True))
        evaluate(program.eqns, values)
        results = [atom_value(values, v) for v in program.outvars]
        return tuple(results) if len(results) > 1 else results[0]

    def tree_flatten(self) -> tuple[tuple[Any, Any], Program]:
        return (self.kernels, self.residuals), self.program

    @classmethod
    def tree_unflatten(cls, program: Program, children: tuple[Any, Any]) -> Pullback:
        return cls(program, *children)


def prepare(
    function: Callable[[Any], Any],
    x: Placed,
    finish: Callable[[Any], Any] | None = None,
    *,
    form: Form = WINOGRAD,
) -> tuple[Placed, Pullback]:
    """Evaluate a function of one array, and make its pullback ready.

    Args:
        function: pure; array → array.
        x: its argument.
        finish: applied to what is pulled back, in the order of axes that x is named in.
        form: of the pullback's convolutions; Winograd's kernels are the larger ones.

    Returns:
        The result, and the pullback: a cotangent that lies in memory as the result does → one that
        lies as x does, or what `finish` makes of it.
    """
    argument = jax.ShapeDtypeStruct(x.shape, x.array.dtype)

    def both(x: Any, cotangent: Any) -> Any:
        y, pull = jax.vjp(function, x)
        return y, *pull(cotangent)

    closed = jax.make_jaxpr(both)(argument, jax.eval_shape(function, argument))
    jaxpr = closed.jaxpr
    early, late = divide(jaxpr, image=jaxpr.invars[:1])
    values = dict(zip(jaxpr.constvars, map(placed, closed.consts), strict=True))
    values[jaxpr.invars[0]] = x
    # Without folding and the like: masks and embedding have the network's own rounding.
    run(early, values, form=Form(native=form.native))
    y = read(values, jaxpr.outvars[0])

    def backward(kernels: Sequence[Any], residuals: Sequence[Any], cotangent: Any) -> Any:
        inner = {}
        for v, array in zip(late.kernels, kernels, strict=True):
            inner[v] = parameter(array, values[v].order)
        for v, array in zip(late.residuals, residuals, strict=True):
            inner[v] = Placed(array, values[v].order)
        if form.native and form.operands is not None:
            cotangent = cotangent.astype(form.operands)
        inner[late.arguments[0]] = Placed(cotangent, y.order)
        run(late.eqns, inner, form=form, fold=True)
        found = read(inner, late.outvars[0])
        return finish(found.plain.astype(x.array.dtype)) if finish else found.lying(x.order)

    kernels, residuals = (
        [values[v].array for v in names] for names in (late.kernels, late.residuals)
    )
    # A reversal stays where XLA's convolution looks for it: see `convolve`.
    cheap = ("iota", "rev") if form.native else ("iota",)
    return y, _prepared(backward, kernels, residuals, y.array, cheap)


def _prepared(
    backward: Callable[..., Any],
    kernels: Sequence[Any],
    residuals: Sequence[Any],
    cotangent: jax.Array,
    cheap: Sequence[str],
) -> Pullback:
    """The pullback whose program has left whatever does not depend on a cotangent behind."""
    shape = jax.ShapeDtypeStruct(cotangent.shape, cotangent.dtype)
    closed = jax.make_jaxpr(backward)(kernels, residuals, shape)
    jaxpr = closed.jaxpr
    early, late = divide(jaxpr, image=jaxpr.invars[len(kernels) : -1], cheap=cheap)
    known = (*jaxpr.constvars, *jaxpr.invars[:-1])
    values = dict(zip(known, (*closed.consts, *kernels, *residuals), strict=True))
    evaluate(early, values)
    return Pullback(late, [values[v] for v in late.kernels], [values[v] for v in late.residuals])


def divide(
    jaxpr: jex.Jaxpr,
    arguments: int = 1,
    results: int = 1,
    *,
    image: Sequence[Any] = (),
    cheap: Sequence[str] = ("iota",),
) -> tuple[list[jex.JaxprEqn], Program]:
    """What does not depend on the last arguments, and the program of the last results, which do.

    Args:
        jaxpr: of a function.
        arguments: how many of its arguments are the last ones.
        results: likewise.
        image: those arguments that are not of the network's parameters, nor the last ones.
        cheap: primitives that are better evaluated anew than kept; so are `_repeated` values.
    """
    last, found = jaxpr.invars[-arguments:], jaxpr.outvars[-results:]
    moved, wanted = _reached(jaxpr, last), set(_variables(found))
    repeated = _repeated(jaxpr)
    late = []
    for eqn in reversed(jaxpr.eqns):
        if wanted.isdisjoint(eqn.outvars):
            continue
        depends = not moved.isdisjoint(eqn.outvars)
        if depends or eqn.primitive.name in cheap or not repeated.isdisjoint(eqn.outvars):
            late.append(eqn)
            wanted = wanted.difference(eqn.outvars).union(_variables(eqn.invars))
    late.reverse()
    # In the order of their use, which no process changes: a compiled program is found again by it.
    used = dict.fromkeys(_variables([*(v for eqn in late for v in eqn.invars), *found]))
    needed = [v for v in used if v in wanted and v not in last]
    of_image = _reached(jaxpr, image)
    program = Program(
        tuple(late),
        tuple(v for v in needed if v not in of_image),
        tuple(v for v in needed if v in of_image),
        tuple(last),
        tuple(found),
    )
    return equations_for(jaxpr, [*needed, *jaxpr.outvars[:-results]]), program


def equations_for(jaxpr: jex.Jaxpr, results: Sequence[Any]) -> list[jex.JaxprEqn]:
    """Those equations that some of a program's values need, in its order."""
    wanted, found = set(_variables(results)), []
    for eqn in reversed(jaxpr.eqns):
        if not wanted.isdisjoint(eqn.outvars):
            found.append(eqn)
            wanted.update(_variables(eqn.invars))
    return found[::-1]


def results_of(closed: jex.ClosedJaxpr, wanted: Sequence[Any], *arguments: Any) -> list[Any]:
    """Some values of a program, by the equations that these need.

    Args:
        closed: the program.
        wanted: its variables or literals.
        *arguments: of the program.
    """
    variables = (*closed.jaxpr.constvars, *closed.jaxpr.invars)
    # What is wanted may not need the last arguments.
    values = dict(zip(variables, (*closed.consts, *arguments), strict=False))
    evaluate(equations_for(closed.jaxpr, wanted), values)
    return [atom_value(values, v) for v in wanted]


def _reached(jaxpr: jex.Jaxpr, start: Sequence[Any]) -> set[Any]:
    """The variables that depend on some of them."""
    reached = set(start)
    for eqn in jaxpr.eqns:
        if not reached.isdisjoint(_variables(eqn.invars)):
            reached.update(eqn.outvars)
    return reached


def _repeated(jaxpr: jex.Jaxpr) -> set[Any]:
    """The values that are larger copies of others, however their axes lie, and choices of such.

    Of an activation's slopes what is kept is which: a byte for each number, where memory is what
    a pullback waits for.
    """
    repeated: set[Any] = set()

    def copies(eqn: jex.JaxprEqn) -> bool:
        if eqn.primitive.name == "select_n":
            return repeated.issuperset(_variables(eqn.invars[1:]))
        moves = eqn.primitive.name in ("transpose", "reshape", "squeeze")
        return _broadcasts(eqn) or (moves and not repeated.isdisjoint(_variables(eqn.invars)))

    for eqn in jaxpr.eqns:
        if copies(eqn):
            repeated.update(eqn.outvars)
    return repeated


def _broadcasts(eqn: jex.JaxprEqn) -> bool:
    """Whether a value is a larger copy of another: XLA never stores it."""
    if eqn.primitive.name != "broadcast_in_dim":
        return False
    before, after = (np.prod(shape_of(v).shape) for v in (eqn.invars[0], eqn.outvars[0]))
    return bool(before < after)


def _variables(atoms: Sequence[Any]) -> list[Any]:
    return [v for v in atoms if not isinstance(v, jex.Literal)]


def evaluate(equations: Sequence[jex.JaxprEqn], values: dict[Any, Any]) -> None:
    """Add what equations make of the values of their variables to these."""
    for eqn in equations:
        found = bind(eqn, [atom_value(values, v) for v in eqn.invars])
        values.update(zip(eqn.outvars, found, strict=True))


def atom_value(values: dict[Any, Any], atom: Any) -> Any:
    """The value of a variable or a literal."""
    return atom.val if isinstance(atom, jex.Literal) else values[atom]

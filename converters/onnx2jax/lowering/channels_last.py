"""Run a JAX program with its channels last, whatever order it was written in.

ONNX's networks put channels first, XLA:CPU's fast kernels want them last, and a transposition
around every operator costs more than it gains. So a traced program is evaluated anew, primitive by
primitive, on values that remember in which order their axes lie in memory (`Placed`). A
convolution brings its operands into the order that it wants; what follows keeps the order that
it finds; a transposition moves nothing.

Values also remember where they come from, so that a factor for each channel, a normalization's,
can go into the kernels before and behind it: what it was multiplied to is then not computed at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import core as jex

from onnx2jax.lowering.conv import DENSE, Form, Geometry, convolve, scaled
from onnx2jax.lowering.pool import scatter_to_maxima

Order = tuple[int, ...]


@dataclass(frozen=True)
class Placed:
    """A value whose axes lie in another order than they are named in.

    Attributes:
        array: as it lies in memory.
        order: its axis i is the value's axis order[i].
        repeats: (vector, axis) where the value is known to be a vector along that axis, repeated:
            see `parameter`.
        product: (value, vector, axis) where it is that value times such a repeated vector.
        rescaled: where a convolution made it, vector → it with each of its features times a number.
    """

    array: Any
    order: Order
    repeats: tuple[Any, int] | None = None
    product: tuple[Placed, Any, int] | None = None
    rescaled: Callable[[Any], Placed] | None = None

    @property
    def plain(self) -> Any:
        """The value as it is named."""
        return self.lying(tuple(range(len(self.order))))

    def lying(self, order: Order) -> Any:
        """The array in another order."""
        if order == self.order:
            return self.array
        return lax.transpose(self.array, [self.order.index(axis) for axis in order])

    def position(self, axis: int) -> int:
        """Where the value's axis lies."""
        return self.order.index(axis)

    @property
    def shape(self) -> tuple[int, ...]:
        """The value's own."""
        return tuple(np.shape(self.array)[self.position(axis)] for axis in range(len(self.order)))


def placed(array: Any) -> Placed:
    """A value that lies as it is named."""
    return Placed(array, tuple(range(np.ndim(array))))


def parameter(array: Any, order: Order) -> Placed:
    """A value that many evaluations have in common, and that may therefore go into kernels."""
    value = Placed(array, order)
    along = [axis for axis, n in enumerate(value.shape) if n > 1]
    return replace(value, repeats=(array.reshape(-1), along[0])) if len(along) == 1 else value


def channels_last(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function of arrays, evaluated with its channels last; differentiate it freely."""

    def evaluated(*args: Any) -> Any:
        closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
        jaxpr = closed.jaxpr
        leaves = (*closed.consts, *jax.tree.leaves(args))
        values = dict(zip((*jaxpr.constvars, *jaxpr.invars), map(placed, leaves), strict=True))
        run(jaxpr.eqns, values)
        results = [read(values, v).plain for v in jaxpr.outvars]
        return jax.tree.unflatten(jax.tree.structure(shapes), results)

    return evaluated


def run(
    equations: Sequence[jex.JaxprEqn],
    values: dict[Any, Placed],
    *,
    form: Form = DENSE,
    fold: bool = False,
) -> None:
    """Evaluate equations, adding their results to `values`.

    Args:
        equations: of a traced program, in order.
        values: of each variable that they read.
        form: of convolutions. With `native` and `operands` all arithmetic is done in that type, but
            that of primitives which are not known here, and sums.
        fold: whether parameters that are factors of channels go into kernels, as pays where these
            are computed once for many uses. It leaves unused equations behind.
    """
    read_by = (v for eqn in equations for v in eqn.invars) if fold else ()
    uses = Counter(v for v in read_by if not isinstance(v, jex.Literal))
    for eqn in equations:
        arguments = [read(values, v) for v in eqn.invars]
        name = eqn.primitive.name
        eqn, arguments = _retyped(eqn, arguments, form)
        if name == "conv_general_dilated" and _is_image_convolution(eqn):
            x, w = arguments
            results = [_convolution(eqn, x, w, form, fold)]
        elif name == "mul" and fold:
            once = [isinstance(v, jex.Literal) or uses[v] == 1 for v in eqn.invars]
            results = [_multiplication(eqn, arguments, once)]
        elif (inner := _inlined(eqn)) is not None:
            results = _call(inner, arguments, form, fold)
        else:
            results = _RULES.get(name, _as_named)(eqn, arguments)
        values.update(zip(eqn.outvars, results, strict=True))


def read(values: Mapping[Any, Placed], variable: Any) -> Placed:
    """The value of a variable or a literal."""
    return placed(variable.val) if isinstance(variable, jex.Literal) else values[variable]


def shape_of(variable: Any) -> jax.ShapeDtypeStruct:
    """The shape and dtype of a variable."""
    return jax.ShapeDtypeStruct(variable.aval.shape, variable.aval.dtype)


def bind(eqn: jex.JaxprEqn, arrays: Sequence[Any], **changed: Any) -> list[Any]:
    """The results of an equation's primitive, some of its parameters changed."""
    params = eqn.primitive.get_bind_params({**eqn.params, **changed})
    found = eqn.primitive.bind(*arrays, **params)
    return list(found) if eqn.primitive.multiple_results else [found]


def _retyped(
    eqn: jex.JaxprEqn, arguments: list[Placed], form: Form
) -> tuple[jex.JaxprEqn, list[Placed]]:
    """An equation of float32 with `form.operands`; what is not known, and a sum, as it is."""
    name, full, narrow = eqn.primitive.name, np.dtype(np.float32), form.operands
    if narrow is None or _inlined(eqn) is not None:
        return eqn, arguments
    if name == "conv_general_dilated":  # casts by itself, its kernels after factors went into them
        return eqn, arguments
    if not form.native and name != "dot_general":
        return eqn, arguments
    if name not in _RULES or name == "reduce_sum":
        return eqn, [_cast(a, v, full) for a, v in zip(arguments, eqn.invars, strict=True)]
    result = narrow if form.native else full
    types = {key: result for key in _TYPES if eqn.params.get(key, narrow) in (None, full)}
    eqn = eqn.replace(params={**eqn.params, **types})
    return eqn, [_cast(a, v, narrow) for a, v in zip(arguments, eqn.invars, strict=True)]


_TYPES = ("new_dtype", "preferred_element_type")


def _cast(x: Placed, variable: Any, dtype: Any) -> Placed:
    """A value of float32 in another type, whatever else is known of it kept as it is."""
    if variable.aval.dtype != np.float32:
        return x
    return replace(x, array=jnp.asarray(x.array, dtype))


# Calls


def _inlined(eqn: jex.JaxprEqn) -> jex.ClosedJaxpr | None:
    """The program of an equation that is nothing but a call of it."""
    # Not custom_jvp_call: its own derivative would be lost.
    if eqn.primitive.name not in ("jit", "pjit", "closed_call", "checkpoint", "remat2"):
        return None
    inner = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
    return jex.ClosedJaxpr(inner, ()) if isinstance(inner, jex.Jaxpr) else inner


def _call(inner: jex.ClosedJaxpr, arguments: list[Placed], form: Form, fold: bool) -> list[Placed]:
    jaxpr = inner.jaxpr
    arguments = [replace(a, rescaled=None) for a in arguments]  # they may be used outside too
    everything = (*map(placed, inner.consts), *arguments)
    values = dict(zip((*jaxpr.constvars, *jaxpr.invars), everything, strict=True))
    run(jaxpr.eqns, values, form=form, fold=fold)
    return [read(values, v) for v in jaxpr.outvars]


# Rules: (equation, arguments) → results


def _as_named(eqn: jex.JaxprEqn, arguments: list[Placed]) -> list[Placed]:
    """A primitive that needs its operands as they are named."""
    return [placed(y) for y in bind(eqn, [a.plain for a in arguments])]


def _common_order(arguments: list[Placed]) -> Order:
    """The first order that is not the named one, else that one."""
    rank = max(len(a.order) for a in arguments)
    named = tuple(range(rank))
    orders = [a.order for a in arguments if len(a.order) == rank]
    return next((order for order in orders if order != named), named)


def _together(arguments: list[Placed]) -> tuple[list[Any], Order]:
    """The operands in one order; scalars have none."""
    order = _common_order(arguments)
    return [a.lying(order) if a.order else a.array for a in arguments], order


def _elementwise(eqn: jex.JaxprEqn, arguments: list[Placed]) -> list[Placed]:
    arrays, order = _together(arguments)
    return [Placed(y, order) for y in bind(eqn, arrays)]


def _multiplication(eqn: jex.JaxprEqn, arguments: list[Placed], once: Sequence[bool]) -> Placed:
    """A product that remembers its factor of channels, or is made by a convolution at once.

    Args:
        eqn: the equation.
        arguments: its two.
        once: whether each of them is used here alone.
    """
    (y,) = _elementwise(eqn, arguments)
    for i, j in ((0, 1), (1, 0)):
        value, repeated = arguments[i], arguments[j].repeats
        if repeated is None or arguments[i].repeats is not None:
            continue
        vector, axis = repeated
        if value.rescaled is not None and once[i] and axis == value.order[-1]:
            return value.rescaled(vector)
        return replace(y, product=(value, vector, axis))
    return y


def _along_axes(*names: str) -> Callable[[jex.JaxprEqn, list[Placed]], list[Placed]]:
    """A rule for parameters that hold one entry for each axis."""

    def rule(eqn: jex.JaxprEqn, arguments: list[Placed]) -> list[Placed]:
        arrays, order = _together(arguments)
        entries = {name: eqn.params[name] for name in names if eqn.params[name] is not None}
        moved = {name: tuple(entry[axis] for axis in order) for name, entry in entries.items()}
        return [Placed(y, order) for y in bind(eqn, arrays, **moved)]

    return rule


def _at_axis(name: str) -> Callable[[jex.JaxprEqn, list[Placed]], list[Placed]]:
    """A rule for a parameter that names one axis, or several."""

    def rule(eqn: jex.JaxprEqn, arguments: list[Placed]) -> list[Placed]:
        arrays, order = _together(arguments)
        axes = eqn.params[name]
        moved = order.index(axes) if isinstance(axes, int) else tuple(map(order.index, axes))
        return [Placed(y, order) for y in bind(eqn, arrays, **{name: moved})]

    return rule


def _reduction(eqn: jex.JaxprEqn, arguments: list[Placed]) -> list[Placed]:
    (x,), axes = arguments, eqn.params["axes"]
    left = [axis for axis in x.order if axis not in axes]
    order = tuple(sorted(left).index(axis) for axis in left)
    found = bind(eqn, [x.array], axes=tuple(sorted(map(x.position, axes))))
    return [Placed(y, order) for y in found]


def _transpose(eqn: jex.JaxprEqn, arguments: list[Placed]) -> list[Placed]:
    (x,), permutation = arguments, eqn.params["permutation"]
    return [Placed(x.array, tuple(permutation.index(axis) for axis in x.order))]


def _broadcast(eqn: jex.JaxprEqn, arguments: list[Placed]) -> list[Placed]:
    """New axes come first, so that a bias of channels has them last."""
    x, shape, onto = arguments[0], eqn.params["shape"], eqn.params["broadcast_dimensions"]
    if len(arguments) > 1:  # a shape that is not static
        return _as_named(eqn, arguments)
    new = [axis for axis in range(len(shape)) if axis not in onto]
    order = (*new, *(onto[axis] for axis in x.order))
    lying = [shape[axis] for axis in order]
    array = lax.broadcast_in_dim(x.array, lying, range(len(new), len(shape)))
    repeats = x.repeats and (x.repeats[0], onto[x.repeats[1]])
    return [Placed(array, order, repeats=repeats)]


def _reshape(eqn: jex.JaxprEqn, arguments: list[Placed]) -> list[Placed]:
    """Axes of length 1 come and go without moving the others."""
    (x, *others), shape = arguments, shape_of(eqn.outvars[0]).shape
    before = [axis for axis, n in enumerate(x.shape) if n != 1]
    after = [axis for axis, n in enumerate(shape) if n != 1]
    kept = [x.shape[axis] for axis in before] == [shape[axis] for axis in after]
    if others or not kept or eqn.params.get("dimensions") is not None:
        return _as_named(eqn, arguments)
    units = [axis for axis, n in enumerate(shape) if n == 1]
    order = (*units, *(after[before.index(axis)] for axis in x.order if axis in before))
    return [Placed(lax.reshape(x.array, [shape[axis] for axis in order]), order)]


def _dot_general(eqn: jex.JaxprEqn, arguments: list[Placed]) -> list[Placed]:
    a, b = arguments
    (a_sum, b_sum), (a_batch, b_batch) = eqn.params["dimension_numbers"]
    numbers = (
        (tuple(map(a.position, a_sum)), tuple(map(b.position, b_sum))),
        (tuple(map(a.position, a_batch)), tuple(map(b.position, b_batch))),
    )
    order = list(range(len(a_batch)))
    for x, gone in ((a, (*a_sum, *a_batch)), (b, (*b_sum, *b_batch))):
        free = [axis for axis in x.order if axis not in gone]
        order += [len(order) + sorted(free).index(axis) for axis in free]
    (y,) = bind(eqn, [a.array, b.array], dimension_numbers=numbers)
    return [Placed(y, tuple(order))]


def _scatter_to_maxima(eqn: jex.JaxprEqn, arguments: list[Placed]) -> list[Placed]:
    """The pullback of a maximum over windows."""
    params, (cotangent, x) = eqn.params, arguments
    window = params["window_dimensions"]
    image = [axis for axis, n in enumerate(window) if n > 1]
    if len(window) != 4 or len(image) != 2 or params["select_prim"].name != "ge":
        return _along_axes(*_IMAGE_AXES[:3])(eqn, arguments)
    first, last = (axis for axis in range(4) if axis not in image)
    order = (first, *image, last)
    sizes = (tuple(params[name][axis] for axis in image) for name in _IMAGE_AXES[:3])
    return [Placed(scatter_to_maxima(cotangent.lying(order), x.lying(order), *sizes), order)]


_IMAGE_AXES = ("window_dimensions", "window_strides", "padding", "base_dilation", "window_dilation")
_RULES: dict[str, Callable[[jex.JaxprEqn, list[Placed]], list[Placed]]] = {
    "transpose": _transpose,
    "broadcast_in_dim": _broadcast,
    "reshape": _reshape,
    "squeeze": _reshape,
    "dot_general": _dot_general,
    "pad": _along_axes("padding_config"),
    "slice": _along_axes("start_indices", "limit_indices", "strides"),
    "concatenate": _at_axis("dimension"),
    "split": _at_axis("axis"),
    "rev": _at_axis("dimensions"),
    "select_and_scatter_add": _scatter_to_maxima,
    "select_and_gather_add": _along_axes(*_IMAGE_AXES),
    **{f"reduce_window_{name}": _along_axes(*_IMAGE_AXES) for name in ("sum", "max", "min")},
    **{f"reduce_{name}": _reduction for name in ("sum", "max", "min", "prod", "and", "or")},
    **dict.fromkeys(
        (
            *("abs", "add", "add_any", "and", "cbrt", "ceil", "clamp", "convert_element_type"),
            *("copy", "copy_p", "cos", "div", "eq", "erf", "exp", "exp2", "expm1", "floor", "ge"),
            *("gt", "integer_pow", "is_finite", "le", "log", "log1p", "logistic", "lt", "max"),
            *("min", "mul", "ne", "neg", "not", "or", "pow", "rem", "round", "rsqrt", "select_n"),
            *("sign", "sin", "sqrt", "square", "sub", "tan", "tanh", "xor"),
        ),
        _elementwise,
    ),
}


# Convolution


def _is_image_convolution(eqn: jex.JaxprEqn) -> bool:
    """Of two spatial axes and one dtype; not the one that differentiates a grouped kernel."""
    x, w = (shape_of(v) for v in eqn.invars)
    wanted = eqn.params["preferred_element_type"]
    same = x.dtype == w.dtype and wanted in (None, x.dtype)
    return len(x.shape) == 4 and same and eqn.params["batch_group_count"] == 1


def _convolution(eqn: jex.JaxprEqn, x: Placed, w: Placed, form: Form, fold: bool) -> Placed:
    numbers, params = eqn.params["dimension_numbers"], eqn.params
    batch, features, *image = numbers.lhs_spec
    outputs, inputs, *taps = numbers.rhs_spec
    at = Geometry(
        stride=tuple(params["window_strides"]),
        padding=params["padding"],
        spread=tuple(params["lhs_dilation"]),
        dilation=tuple(params["rhs_dilation"]),
        groups=params["feature_group_count"],
    )
    kernels = w.lying((*taps, inputs, outputs))
    while fold and x.product is not None and x.product[2] == features:
        x, vector, _ = x.product
        kernels = scaled(kernels, at.groups, inputs=vector)
    pixels = x.lying((batch, *image, features))
    batch, features, *image = numbers.out_spec

    def convolved(kernels: jax.Array) -> Placed:
        y = convolve(pixels, kernels, at, form)
        again = (lambda v: convolved(scaled(kernels, at.groups, outputs=v))) if fold else None
        return Placed(y, (batch, *image, features), rescaled=again)

    return convolved(kernels)

"""Arithmetic, comparison and logic, element by element, in both worlds of values."""

from __future__ import annotations

import functools
import operator as python
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from onnx2jax.registry import op
from onnx2jax.values import Value, align, by_lax, cast, is_static, namespace


def _unary(name: str, function: str) -> None:
    """Register an operator that NumPy and jax.numpy name alike."""

    def apply(x: Value) -> Value:
        return getattr(namespace(x), function)(x)

    op(name)(apply)


for _name in ("Abs", "Ceil", "Cos", "Cosh", "Exp", "Floor", "IsNaN", "Log"):
    _unary(_name, _name.lower())
for _name in ("Round", "Sign", "Sin", "Sinh", "Sqrt", "Tan", "Tanh"):  # round: half to even
    _unary(_name, _name.lower())
for _name in ("Asin", "Acos", "Atan", "Asinh", "Acosh", "Atanh"):
    _unary(_name, "arc" + _name[1:].lower())
_unary("Neg", "negative")
_unary("Not", "logical_not")
_unary("BitwiseNot", "invert")


@op("Reciprocal")
def Reciprocal(x):
    return 1 / x


@op("Erf")
def Erf(x):
    return jax.lax.erf(jnp.asarray(x))


@op("Det", 11)
def Det(x):
    return jnp.linalg.det(jnp.asarray(x))


@op("IsInf")
def IsInf(x, *, detect_negative=1, detect_positive=1):
    xp = namespace(x)
    found = xp.isinf(x)
    if not detect_negative:
        found = found & (x > 0)
    if not detect_positive:
        found = found & (x < 0)
    return found


Binary = Callable[[Any, Any], Any]


def _binary(name: str, function: Binary) -> None:
    """Register an operator that broadcasts as NumPy does."""

    def apply(a: Value, b: Value) -> Value:
        return function(*align(a, b))

    op(name, 7)(apply)


def _binary_since_1(name: str, function: Binary) -> None:
    """Register one that before opset 7 broadcast only when told to, and where."""

    def apply_1(a: Value, b: Value, *, axis: Any = None, broadcast: int = 0) -> Value:
        return function(*align(a, _placed(b, np.ndim(a), axis) if broadcast else b))

    op(name, 1)(apply_1)
    _binary(name, function)


def _placed(b: Value, rank: int, axis: int | None) -> Value:
    """b's dimensions at `axis` of a value of that rank; at its end where there is none."""
    start = rank - np.ndim(b) if axis is None else axis % rank
    return b.reshape(np.shape(b) + (1,) * (rank - start - np.ndim(b)))


def _divide(a: Any, b: Any) -> Any:
    """Division; that of integers truncates towards zero, as in C."""
    if jnp.issubdtype(a.dtype, jnp.integer):
        xp = namespace(a, b)
        quotient = xp.abs(a) // xp.abs(b)
        return (xp.sign(a) * xp.sign(b) * quotient).astype(a.dtype)
    return a / b


def _power(a: Any, b: Any) -> Any:
    """`a` to the power `b`, in a's type; the exponent may have another."""
    xp = namespace(a, b)
    real = jnp.issubdtype(b.dtype, jnp.floating) and not jnp.issubdtype(a.dtype, jnp.floating)
    common = b.dtype if real else a.dtype
    return cast(xp.power(cast(a, common), cast(b, common)), a.dtype)


add, mul = by_lax(python.add, lax.add), by_lax(python.mul, lax.mul)

for _name, _function in (
    ("Add", add),
    ("And", python.and_),
    ("Div", _divide),
    ("Equal", python.eq),
    ("Greater", python.gt),
    ("Less", python.lt),
    ("Mul", mul),
    ("Or", python.or_),
    ("Pow", _power),
    ("Sub", by_lax(python.sub, lax.sub)),
    ("Xor", python.xor),
):
    _binary_since_1(_name, _function)
for _name, _function in (
    ("BitwiseAnd", python.and_),
    ("BitwiseOr", python.or_),
    ("BitwiseXor", python.xor),
    ("GreaterOrEqual", python.ge),
    ("LessOrEqual", python.le),
):
    _binary(_name, _function)


@op("Mod")
def Mod(a, b, *, fmod=0):
    xp = namespace(a, b)
    a, b = align(a, b)
    return xp.fmod(a, b) if fmod else xp.mod(a, b)


@op("BitShift")
def BitShift(a, b, *, direction):
    xp = namespace(a, b)
    a, b = align(a, b)
    return xp.left_shift(a, b) if direction == "LEFT" else xp.right_shift(a, b)


def _variadic(name: str, function: Callable[[Value, Value], Value]) -> None:
    def apply(*values: Value) -> Value:
        return functools.reduce(function, align(*values))

    op(name, 1)(apply)


_variadic("Sum", python.add)
_variadic("Max", lambda a, b: namespace(a, b).maximum(a, b))
_variadic("Min", lambda a, b: namespace(a, b).minimum(a, b))


@op("Mean")
def Mean(*values):
    return functools.reduce(python.add, align(*values)) / len(values)


@op("Where")
def Where(condition, x, y):
    xp = namespace(condition, x, y)
    x, y = align(x, y)
    condition, x, y = align(condition, x, y)
    return xp.where(condition, x, y)


@op("Clip", 1)
def Clip_1(x, *, min=None, max=None):
    return Clip(x, min, max)


@op("Clip", 11)
def Clip(x, min=None, max=None):
    low, high = (None if bound is None else _bound(bound, x.dtype) for bound in (min, max))
    if namespace(x, min, max) is np:
        x = x if low is None else np.maximum(x, low)
        return x if high is None else np.minimum(x, high)
    if low is None:
        return x if high is None else bounded(x, high, lax.ge)
    return bounded(x, low, lax.le) if high is None else lax.clamp(low, x, high)


def bounded(x: jax.Array, bound: Value, beyond: Callable[[Any, Any], Any]) -> jax.Array:
    """x, or a scalar bound where x is beyond it: `lax.le` the least or `lax.ge` the most.

    A choice, whose pullback is 0 at the bound, as that of PyTorch's ReLU, and keeps a byte for each
    number; the pullback of `lax.max` is 1/2 there, and keeps a number.
    """
    bound = lax.broadcast(bound, np.shape(x))
    return lax.select(beyond(x, bound), bound, x)


def _bound(value: Value, dtype: Any) -> Value:
    """A bound of one element, in the type of what it bounds."""
    return (np.asarray(value) if is_static(value) else value).astype(dtype).reshape(())

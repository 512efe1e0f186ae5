"""Arithmetic, comparison and logic, element by element, in both worlds of values."""

from __future__ import annotations

import functools
import operator as python
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from onnx2jax.errors import UnsupportedModelError
from onnx2jax.registry import op
from onnx2jax.values import Value, align, cast, dtype_of, is_static, namespace


def _unary(name: str, function: str) -> None:
    """Register an operator that NumPy and jax.numpy name alike."""

    def apply(x: Value) -> Value:
        return getattr(namespace(x), function)(x)

    def apply_1(x: Value, *, consumed_inputs: Any = None) -> Value:
        return apply(x)

    op(name, 1)(apply_1)
    op(name, 6)(apply)


for _name in ("Abs", "Ceil", "Exp", "Floor", "Log", "Sqrt", "Tanh"):
    _unary(_name, _name.lower())
_unary("Neg", "negative")
for _name in ("Sin", "Cos", "Tan", "Sinh", "Cosh", "Sign", "IsNaN"):
    _unary(_name, _name.lower())
for _name in ("Asin", "Acos", "Atan", "Asinh", "Acosh", "Atanh"):
    _unary(_name, "arc" + _name[1:].lower())
_unary("Round", "round")  # both round half to even
_unary("Not", "logical_not")
_unary("BitwiseNot", "invert")


@op("Reciprocal")
def Reciprocal(x, *, consumed_inputs=None):
    return 1 / x


@op("Erf")
def Erf(x):
    return jax.lax.erf(jnp.asarray(x))


@op("IsInf")
def IsInf(x, *, detect_negative=1, detect_positive=1):
    xp = namespace(x)
    found = xp.isinf(x)
    if not detect_negative:
        found = found & (x > 0)
    if not detect_positive:
        found = found & (x < 0)
    return found


def _binary(name: str, function: Callable[[Any, Any], Any], *, numeric: bool = True) -> None:
    """Register a broadcasting operator, and its form before opset 7 with `axis`."""

    def apply(a: Value, b: Value) -> Value:
        return function(*align(a, b))

    def apply_1(
        a: Value, b: Value, *, axis: Any = None, broadcast: int = 0, consumed_inputs: Any = None
    ) -> Value:
        return apply(a, _placed(b, np.ndim(a), axis) if broadcast else b)

    op(name, 1)(apply_1)
    op(name, 7)(apply)


def _placed(b: Value, rank: int, axis: int | None) -> Value:
    """Opset 1's broadcast: b's dimensions stand at `axis` of a (by default at its end)."""
    start = rank - np.ndim(b) if axis is None else axis % rank
    return b.reshape(np.shape(b) + (1,) * (rank - start - np.ndim(b)))


def _divide(a: Any, b: Any) -> Any:
    """Division; that of integers truncates towards zero, as in C."""
    if np.issubdtype(np.asarray(a).dtype if is_static(a) else a.dtype, np.integer):
        xp = namespace(a, b)
        quotient = xp.abs(a) // xp.abs(b)
        return (xp.sign(a) * xp.sign(b) * quotient).astype(a.dtype)
    return a / b


_binary("Add", python.add)
_binary("Sub", python.sub)
_binary("Mul", python.mul)
_binary("Div", _divide)
_binary("Equal", python.eq)
_binary("Greater", python.gt)
_binary("Less", python.lt)
_binary("GreaterOrEqual", python.ge)
_binary("LessOrEqual", python.le)
_binary("And", python.and_)
_binary("Or", python.or_)
_binary("Xor", python.xor)
_binary("BitwiseAnd", python.and_)
_binary("BitwiseOr", python.or_)
_binary("BitwiseXor", python.xor)


def _power(a: Any, b: Any) -> Any:
    """`a` to the power `b`, in a's type: the exponent's may differ."""
    xp = namespace(a, b)
    common = xp.promote_types(a.dtype, b.dtype)
    return cast(xp.power(cast(a, common), cast(b, common)), a.dtype)


_binary("Pow", _power)


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
    def apply(*values: Value, consumed_inputs: Any = None) -> Value:
        return functools.reduce(function, align(*values))

    op(name, 1)(apply)


_variadic("Sum", python.add)
_variadic("Max", lambda a, b: namespace(a, b).maximum(a, b))
_variadic("Min", lambda a, b: namespace(a, b).minimum(a, b))


@op("Mean")
def Mean(*values, consumed_inputs=None):
    return functools.reduce(python.add, align(*values)) / len(values)


@op("Where")
def Where(condition, x, y):
    xp = namespace(condition, x, y)
    x, y = align(x, y)
    condition, x, y = align(condition, x, y)
    return xp.where(condition, x, y)


@op("Clip", 1)
def Clip_1(x, *, min=None, max=None, consumed_inputs=None):
    return Clip(x, min, max)


@op("Clip", 11)
def Clip(x, min=None, max=None):
    xp = namespace(x, min, max)
    if min is not None:
        x = xp.maximum(x, xp.asarray(min, x.dtype).reshape((1,) * np.ndim(x)))
    if max is not None:
        x = xp.minimum(x, xp.asarray(max, x.dtype).reshape((1,) * np.ndim(x)))
    return x


@op("Cast", 1)
def Cast_1(x, *, to):
    """Before opset 6 the type is a name: FLOAT, INT64 …"""
    names = {"FLOAT": "float32", "DOUBLE": "float64", "BOOL": "bool"}
    return cast(x, names.get(to, to.lower()))


@op("Cast", 6)
def Cast(x, *, to, saturate=1, round_mode="up"):
    return _converted(x, dtype_of(to))


@op("CastLike")
def CastLike(x, target_type, *, saturate=1, round_mode="up"):
    return _converted(x, target_type.dtype)


def _converted(x, dtype):
    # These types saturate and round by rules of their own, which a plain cast does not know.
    if str(dtype).startswith(("float8", "float4", "int4", "uint4", "int2", "uint2")):
        raise UnsupportedModelError(f"a cast to {dtype} is not supported yet")
    return cast(x, dtype)

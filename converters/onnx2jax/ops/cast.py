"""Conversions between types, those of few bits and of strings included."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from jax import lax

from onnx2jax.registry import op
from onnx2jax.values import Value, cast, dtype_of, is_static, namespace, on_host


@op("Cast", 1)
def Cast_1(x, *, to):
    """Before opset 6 the type is a name: FLOAT, INT64 …"""
    names = {"FLOAT": "float32", "DOUBLE": "float64", "BOOL": "bool"}
    return cast(x, names.get(to, to.lower()))


@op("Cast", 6)
def Cast(x, *, to, saturate=1, round_mode="up"):
    return converted(x, dtype_of(to), bool(saturate), round_mode)


@op("CastLike")
def CastLike(x, target_type, *, saturate=1, round_mode="up"):
    return converted(x, target_type.dtype, bool(saturate), round_mode)


@op("BitCast", 26)
def BitCast(x, *, to):
    dtype = dtype_of(to)
    if x.dtype.itemsize != np.dtype(dtype).itemsize:
        raise ValueError(f"{x.dtype} and {dtype} have not the same number of bits")
    if is_static(x):
        return np.asarray(x).view(dtype)
    if np.dtype(dtype).kind == "b":  # XLA's booleans have no bits
        return lax.bitcast_convert_type(x, np.uint8).astype(bool)
    x = x.astype(np.uint8) if x.dtype == bool else x
    return lax.bitcast_convert_type(x, jax.dtypes.canonicalize_dtype(dtype))


def converted(x: Value, dtype: np.dtype, saturate: bool = True, round_mode: str = "up") -> Value:
    """x in another type.

    Args:
        x: of any type, strings included.
        dtype: the type wanted; that of strings is object.
        saturate: whether float8 takes what is too large as its largest number, not as infinity.
        round_mode: "up", "down" or "nearest", of float8e8m0, which has powers of two alone.
    """
    if np.dtype(dtype).kind == "O" or (isinstance(x, np.ndarray) and x.dtype.kind in "OU"):
        return _of_strings(x, dtype)
    name = np.dtype(dtype).name
    if name == "float8_e8m0fnu":
        return _exponents(x, saturate, round_mode)
    if name.startswith("float8") and saturate:
        return _saturated(x, dtype)
    if name.endswith(("int4", "int2")) and x.dtype != bool:
        return _low_bits(x, dtype)
    return cast(x, dtype)


def _saturated(x, dtype):
    largest = float(ml_dtypes.finfo(dtype).max)
    wide = cast(x, np.float32) if x.dtype.itemsize < 4 or x.dtype.kind != "f" else x
    return cast(namespace(x).clip(wide, -largest, largest), dtype)


def _low_bits(x, dtype):
    """What is truncated to an integer keeps its low bits."""
    xp = namespace(x)
    if jnp.issubdtype(x.dtype, jnp.floating):
        x = cast(xp.trunc(cast(x, np.float32)), np.int32)
    return cast(x, np.int8 if np.dtype(dtype).name.startswith("i") else np.uint8).astype(dtype)


def _exponents(x, saturate, round_mode):
    """float8e8m0: the exponent alone, the significand rounded away; the sign is dropped."""
    x = jnp.asarray(x)
    bits = lax.bitcast_convert_type(x.astype(np.float32), np.uint32)
    exponent, rest = (bits >> 23) & 0xFF, bits & 0x7FFFFF
    half = 1 << 22
    if round_mode == "up":
        more = rest > 0
    elif round_mode == "nearest":  # ties go up, but to the least number from below
        more = (rest > half) | ((rest == half) & (exponent > 0))
    else:
        more = jnp.zeros(x.shape, bool)
    if saturate:
        more = more & (exponent < 0xFE)
    exponent = jnp.where(exponent == 0xFF, exponent, exponent + more)
    return lax.bitcast_convert_type(exponent.astype(np.uint8), jnp.float8_e8m0fnu)


def _of_strings(x, dtype):
    """To strings and from them, on the host."""
    x = on_host(x)
    if np.dtype(dtype).kind == "O":
        texts = [v if isinstance(v, str) else _text(v, x.dtype) for v in x.reshape(-1)]
        return np.array(texts, object).reshape(x.shape)
    parse = float if np.dtype(dtype).kind != "i" else int
    numbers = [parse(str(v)) for v in x.reshape(-1)]
    return np.array(numbers).reshape(x.shape).astype(dtype)


def _text(value, dtype):
    return str(value) if dtype.kind != "V" else str(float(value))

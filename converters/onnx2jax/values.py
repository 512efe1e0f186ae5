"""Two worlds of values: static ones are NumPy, traced ones are JAX.

What depends on constants and shapes alone stays NumPy, so shape arithmetic costs nothing and jit
sees concrete shapes. An operator that exists in both worlds asks `namespace` which one it is in.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from jax.core import Tracer

from onnx2jax.errors import DataDependentError, UnsupportedModelError

Value = Any  # np.ndarray (static) | jax.Array or tracer | None (absent)


def is_static(value: Value) -> bool:
    """Whether a value is known when the program is traced."""
    if isinstance(value, tuple):  # a sequence
        return all(map(is_static, value))
    return value is None or isinstance(value, np.ndarray | np.generic | bool | int | float)


# What is static is computed at once only while it is small: a file of 84 bytes may ask for
# gigabytes. Beyond, it becomes a part of the program.
FOLDED = 2**24  # elements


def namespace(*values: Value) -> ModuleType:
    """`numpy` where every value is static and what they make is small, else `jax.numpy`."""
    small = math.prod(max(np.size(v), 1) for v in values if is_static(v)) <= FOLDED
    return np if small and all(map(is_static, values)) else jnp


# A function of arrays that is traced once for all of one shape and type, its equations copied into
# the program: jax.numpy takes ten times as long as that to trace what every layer does.
traced_once = partial(jax.jit, inline=True)


def by_lax(plain: Callable[[Any, Any], Any], fast: Callable[[Any, Any], Any]) -> Any:
    """An operator of two operands that traces fast: by lax where nothing is left to promote."""

    def apply(a: Value, b: Value) -> Value:
        traced = isinstance(a, Tracer) and isinstance(b, Tracer)
        alike = traced and a.ndim == b.ndim and a.dtype == b.dtype
        return fast(a, b) if alike and a.dtype != bool else plain(a, b)

    return apply


def unfolded(value: Value) -> Value:
    """A large constant that repeats one number, as a part of the program."""
    if not isinstance(value, np.ndarray) or value.size <= FOLDED or any(value.strides):
        return value
    return jnp.broadcast_to(jnp.asarray(value.reshape(-1)[0]), value.shape)


def align(*values: Value) -> tuple[Value, ...]:
    """Give operands one rank (ONNX broadcasts silently) and static floats the traced dtype.

    The second rule lets a model run in another precision than its file: cast the params and the
    inputs, and the constants inside the graph follow.
    """
    if namespace(*values) is jnp and all(map(is_static, values)):
        values = tuple(map(jnp.asarray, values))
    rank = max(np.ndim(v) for v in values)
    traced = [v.dtype for v in values if not is_static(v) and _is_float(v.dtype)]
    return tuple(_aligned(v, rank, traced) for v in values)


def _aligned(value: Value, rank: int, traced: list[Any]) -> Value:
    if traced and is_static(value) and _is_float(np.asarray(value).dtype):
        value = np.asarray(value).astype(traced[0])
    shape = np.shape(value)
    return value if len(shape) == rank else value.reshape((1,) * (rank - len(shape)) + shape)


def _is_float(dtype: Any) -> bool:
    return bool(jnp.issubdtype(dtype, jnp.floating))


def on_host(value: Value) -> np.ndarray:
    """A value that strings are made of, or compared with, as NumPy.

    Raises:
        DataDependentError: it is traced.
    """
    if isinstance(value, Tracer):
        raise DataDependentError("strings are of the host: call the model outside jit")
    return np.asarray(value)


def ints(value: Value) -> list[int]:
    """A static value as a flat list of Python ints."""
    return [int(v) for v in np.asarray(value).reshape(-1)]


# By ONNX's numbers of element types; strings are NumPy's objects.
_DTYPES: dict[int, Any] = {
    1: np.float32,
    2: np.uint8,
    3: np.int8,
    4: np.uint16,
    5: np.int16,
    6: np.int32,
    7: np.int64,
    8: np.object_,
    9: np.bool_,
    10: np.float16,
    11: np.float64,
    12: np.uint32,
    13: np.uint64,
    14: np.complex64,
    15: np.complex128,
    16: ml_dtypes.bfloat16,
    17: ml_dtypes.float8_e4m3fn,
    18: ml_dtypes.float8_e4m3fnuz,
    19: ml_dtypes.float8_e5m2,
    20: ml_dtypes.float8_e5m2fnuz,
    21: ml_dtypes.uint4,
    22: ml_dtypes.int4,
    23: ml_dtypes.float4_e2m1fn,
    24: ml_dtypes.float8_e8m0fnu,
    25: ml_dtypes.uint2,
    26: ml_dtypes.int2,
}


def dtype_of(element_type: int) -> np.dtype:
    """The NumPy dtype of an ONNX element type.

    Raises:
        UnsupportedModelError: there is none.
    """
    if element_type not in _DTYPES:
        raise UnsupportedModelError(f"element type {element_type} is not supported")
    return np.dtype(_DTYPES[element_type])


def index_dtype() -> np.dtype:
    """The dtype of indices: int64, or what JAX makes of it."""
    return jax.dtypes.canonicalize_dtype(np.int64)


def cast(value: Value, dtype: Any) -> Value:
    """Convert to `dtype`; traced 64-bit values follow `jax_enable_x64`."""
    if is_static(value):
        return np.asarray(value).astype(dtype)
    return value.astype(jax.dtypes.canonicalize_dtype(dtype))


def normalized_axes(axes: list[int] | None, rank: int) -> tuple[int, ...]:
    """Non-negative axes; None means every axis."""
    if axes is None:
        return tuple(range(rank))
    if bad := [a for a in axes if not -rank <= a < rank]:
        raise ValueError(f"axes {bad} do not exist in a value of {rank} dimensions")
    return tuple(a % rank for a in axes)

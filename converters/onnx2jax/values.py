"""Two worlds of values: static ones are NumPy, traced ones are JAX.

What depends on constants and shapes alone stays NumPy, so shape arithmetic costs nothing and jit
sees concrete shapes. An operator that exists in both worlds asks `namespace` which one it is in.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnx

Value = Any  # np.ndarray (static) | jax.Array or tracer | None (absent)


def is_static(value: Value) -> bool:
    """Whether a value is known when the program is traced."""
    return value is None or isinstance(value, np.ndarray | np.generic | bool | int | float)


def namespace(*values: Value) -> ModuleType:
    """`numpy` where every value is static, else `jax.numpy`."""
    return np if all(map(is_static, values)) else jnp


def align(*values: Value) -> tuple[Value, ...]:
    """Give operands one rank (ONNX broadcasts silently) and static floats the traced dtype.

    The second rule lets a model run in another precision than its file: cast the params and the
    inputs, and the constants inside the graph follow.
    """
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


def ints(value: Value) -> list[int]:
    """A static value as a flat list of Python ints."""
    return [int(v) for v in np.asarray(value).reshape(-1)]


def dtype_of(element_type: int) -> np.dtype:
    """The NumPy dtype of an ONNX element type."""
    return onnx.helper.tensor_dtype_to_np_dtype(element_type)


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

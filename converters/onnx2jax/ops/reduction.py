"""Reductions over axes, in both worlds of values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from onnx2jax.registry import op
from onnx2jax.values import Value, ints, namespace, normalized_axes

Reducer = Callable[..., Value]  # (xp, x, axes, keepdims) → value


def _register(name: str, reduce: Reducer, since: int) -> None:
    """`axes` is an attribute before opset `since`, an input from it on."""

    def before(x: Value, *, axes: Any = None, keepdims: int = 1) -> Value:
        chosen = normalized_axes(axes, np.ndim(x))
        return reduce(namespace(x), x, chosen, bool(keepdims))

    def after(
        x: Value, axes: Value = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
    ) -> Value:
        chosen = [] if axes is None else ints(axes)
        if not chosen and noop_with_empty_axes:
            return reduce(namespace(x), x, (), bool(keepdims))
        return before(x, axes=chosen or None, keepdims=keepdims)

    op(name, 1)(before)
    op(name, since, static=("axes",))(after)


def _sum(xp: Any, x: Value, axes: Any, keepdims: bool) -> Value:
    return xp.sum(x, axes, keepdims=keepdims, dtype=x.dtype)


def _log_sum_exp(xp: Any, x: Value, axes: Any, keepdims: bool) -> Value:
    return jax.scipy.special.logsumexp(jnp.asarray(x), axes, keepdims=keepdims)


_register("ReduceSum", _sum, 13)
_register("ReduceMean", lambda xp, x, a, k: xp.mean(x, a, keepdims=k).astype(x.dtype), 18)
_register("ReduceMax", lambda xp, x, a, k: xp.max(x, a, keepdims=k, initial=_least(x)), 18)
_register("ReduceMin", lambda xp, x, a, k: xp.min(x, a, keepdims=k, initial=_greatest(x)), 18)
_register("ReduceProd", lambda xp, x, a, k: xp.prod(x, a, keepdims=k, dtype=x.dtype), 18)
_register("ReduceL1", lambda xp, x, a, k: _sum(xp, xp.abs(x), a, k), 18)
_register("ReduceL2", lambda xp, x, a, k: xp.sqrt(_sum(xp, x * x, a, k)).astype(x.dtype), 18)
_register("ReduceSumSquare", lambda xp, x, a, k: _sum(xp, x * x, a, k), 18)
_register("ReduceLogSum", lambda xp, x, a, k: xp.log(_sum(xp, x, a, k)), 18)
_register("ReduceLogSumExp", _log_sum_exp, 18)


def _least(x: Value) -> Any:
    if x.dtype == bool:
        return False
    return -np.inf if jnp.issubdtype(x.dtype, jnp.floating) else np.iinfo(x.dtype).min


def _greatest(x: Value) -> Any:
    if x.dtype == bool:
        return True
    return np.inf if jnp.issubdtype(x.dtype, jnp.floating) else np.iinfo(x.dtype).max


def _arg(name: str, function: str) -> None:
    def apply(x: Value, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Value:
        xp = namespace(x)
        size = x.shape[axis]
        values = xp.flip(x, axis) if select_last_index else x
        index = getattr(xp, function)(values, axis=axis, keepdims=bool(keepdims))
        index = size - 1 - index if select_last_index else index
        return index.astype(np.int64 if xp is np else jax.dtypes.canonicalize_dtype(np.int64))

    op(name, 1)(apply)


_arg("ArgMax", "argmax")
_arg("ArgMin", "argmin")


def _cumulative(name: str, since: int, accumulate: str, neutral: int) -> None:
    def apply(x: Value, axis: Value, *, exclusive: int = 0, reverse: int = 0) -> Value:
        xp = namespace(x)
        (along,) = ints(axis)
        values = xp.flip(x, along) if reverse else x
        if exclusive:  # shifted by one: what is not added yet
            start = xp.full_like(xp.take(values, np.arange(1), along), neutral)
            rest = xp.take(values, np.arange(values.shape[along] - 1), along)
            values = xp.concatenate([start, rest], along)
        total = getattr(xp, accumulate)(values, along, dtype=x.dtype)
        return xp.flip(total, along) if reverse else total

    op(name, since, static=("axis",))(apply)


_cumulative("CumSum", 11, "cumsum", 0)
_cumulative("CumProd", 26, "cumprod", 1)

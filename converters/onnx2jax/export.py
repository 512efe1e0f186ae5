"""A converted model as StableHLO, for where Python or this package is not wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax import export as jax_export

from onnx2jax.errors import InputError
from onnx2jax.graph import TensorSpec
from onnx2jax.model import Model

PLATFORMS = ("cpu", "cuda", "tpu")


def export(
    model: Model, *shapes: Sequence[int], platforms: Sequence[str] = PLATFORMS
) -> jax_export.Exported:
    """Compile a model to StableHLO, with its weights as the first argument.

    It is a cache, not an archive: JAX reads an export for six months after the release that wrote
    it. Keep the ONNX file, or what `save` wrote.

    Args:
        model: what `load` gave.
        *shapes: the shape of each input; none where the file fixes all of them.
        platforms: what it is to run on: "cpu", "cuda", "tpu".

    Returns:
        A `jax.export.Exported`: `.serialize()` gives bytes, `jax.export.deserialize(bytes)` takes
        them, and `.call(params, *inputs)` evaluates.

    Raises:
        InputError: a shape is missing, or an input decides a shape and so has no place in it.

    Example:
        >>> blob = onnx2jax.export(m, (1, 3, 112, 112)).serialize()      # doctest: +SKIP
        >>> y = jax.export.deserialize(blob).call(m.params, x)           # doctest: +SKIP
    """
    if model.static_inputs:
        raise InputError(
            f"{sorted(model.static_inputs)} decide shapes, so they cannot be arguments of a "
            "compiled program: close over them and export that function with jax.export"
        )
    taken = arguments(model, list(shapes) or [spec.shape for spec in model.inputs])
    # One program for several platforms is lowered as for accelerators.
    target = "cpu" if tuple(platforms) == ("cpu",) else "gpu"
    weights = jax.tree.map(lambda v: jax.ShapeDtypeStruct(v.shape, v.dtype), dict(model.params))
    program = jax.jit(model.lowered_for(target))
    return jax_export.export(program, platforms=list(platforms))(weights, *taken)


def arguments(model: Model, shapes: Sequence[Any]) -> list[jax.ShapeDtypeStruct]:
    """What stands for a model's inputs, of those shapes, where it is traced.

    Raises:
        InputError: a shape is missing or not fixed.
    """
    if len(shapes) != len(model.inputs):
        raise InputError(f"{len(shapes)} shapes given for {len(model.inputs)} inputs")
    return [_argument(spec, shape) for spec, shape in zip(model.inputs, shapes, strict=True)]


def _argument(spec: TensorSpec, shape: Any) -> jax.ShapeDtypeStruct:
    if shape is None or any(not isinstance(d, int) for d in shape):
        raise InputError(
            f"input {spec.name!r} has the shape {shape}; give one that is fixed for each input, "
            "such as (1, 3, 112, 112)"
        )
    dtype = jax.dtypes.canonicalize_dtype(np.float32 if spec.dtype is None else spec.dtype)
    return jax.ShapeDtypeStruct(tuple(shape), dtype)

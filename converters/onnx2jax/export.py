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
    given = list(shapes) or [spec.shape for spec in model.inputs]
    if len(given) != len(model.inputs):
        raise InputError(f"{len(given)} shapes given for {len(model.inputs)} inputs")
    arguments = [_argument(spec, s) for spec, s in zip(model.inputs, given, strict=True)]
    # One program for several platforms is lowered as for accelerators.
    target = "cpu" if tuple(platforms) == ("cpu",) else "gpu"
    weights = jax.tree.map(lambda v: jax.ShapeDtypeStruct(v.shape, v.dtype), dict(model.params))
    program = jax.jit(model.lowered_for(target))
    return jax_export.export(program, platforms=list(platforms))(weights, *arguments)


def _argument(spec: TensorSpec, shape: Any) -> jax.ShapeDtypeStruct:
    if shape is None or any(not isinstance(d, int) for d in shape):
        raise InputError(f"input {spec.name!r} has the shape {shape}; give one that is fixed")
    dtype = jax.dtypes.canonicalize_dtype(np.float32 if spec.dtype is None else spec.dtype)
    return jax.ShapeDtypeStruct(tuple(shape), dtype)

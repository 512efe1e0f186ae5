"""onnx2jax as an ONNX backend, for ONNX's own test suite: prepare(model).run(inputs)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import onnx

from onnx2jax.model import Model, load


class Representation:
    """A prepared model.

    Attributes:
        tags: after `run`, `jit` says whether all outputs came out of one call of a jitted
            function of the graph's inputs, those that decide a shape excepted.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.tags = {"jit": False}

    def run(self, inputs: Sequence[Any], **_: Any) -> tuple[Any, ...]:
        """Outputs as NumPy arrays, 64-bit types kept."""
        model = self.model
        static = {
            spec.name: x
            for spec, x in zip(model.inputs, inputs, strict=True)
            if spec.name in model.static_inputs
        }
        names = [spec.name for spec in model.inputs if spec.name not in static]
        traced = [x for spec, x in zip(model.inputs, inputs, strict=True) if spec.name in names]

        def call(params: Any, *xs: Any) -> Any:
            given = {**static, **dict(zip(names, xs, strict=True))}
            return model(params, *(given[spec.name] for spec in model.inputs))

        with jax.enable_x64(True):
            outputs = jax.jit(call)(model.params, *traced)
        self.tags["jit"] = True
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return tuple(np.asarray(y) for y in outputs)


def prepare(model: onnx.ModelProto, device: str = "CPU", **_: Any) -> Representation:
    """Convert a model; `device` is JAX's business."""
    with jax.enable_x64(True):
        return Representation(load(model))


def supports_device(device: str) -> bool:
    """Whether JAX has such a device, by ONNX's name for it: CPU or CUDA."""
    wanted = {"CPU": "cpu", "CUDA": "gpu"}.get(device.split(":")[0])
    return any(d.platform == wanted for d in jax.devices())

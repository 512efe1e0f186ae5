"""onnx2jax as an ONNX backend, for ONNX's own test suite: prepare(model).run(inputs)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from onnx2jax.errors import DataDependentError
from onnx2jax.model import Model, load

if TYPE_CHECKING:
    import onnx


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
        """Outputs as NumPy arrays, 64-bit types kept; a sequence is a list, an absent one None."""
        with jax.enable_x64(True):
            given = [tuple(x) if isinstance(x, list) else x for x in inputs]
            try:
                outputs = self._jitted(given)
                self.tags["jit"] = True
            except DataDependentError:  # sizes or branches that only values decide
                outputs = self.model(self.model.params, *given, key=_key())
                self.tags["jit"] = False
        outputs = outputs if len(self.model.outputs) > 1 else (outputs,)
        return tuple(map(_numpy, outputs))

    def _jitted(self, inputs: Sequence[Any]) -> Any:
        model = self.model
        if any(spec.dtype == object for spec in model.outputs):
            raise DataDependentError("strings cannot come out of a compiled function")
        pairs = list(zip(model.inputs, inputs, strict=True))
        static = {spec.name: x for spec, x in pairs if spec.name in model.static_inputs}
        traced = {spec.name: x for spec, x in pairs if spec.name not in static}

        def call(params: Any, traced: Any) -> Any:
            given = {**static, **traced}
            return model(params, *(given[spec.name] for spec in model.inputs), key=_key())

        return jax.jit(call)(model.params, traced)


def _key() -> jax.Array:
    return jax.random.key(0)


def _numpy(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(map(_numpy, value))
    return value if value is None else np.asarray(value)


def prepare(model: onnx.ModelProto, device: str = "CPU", **_: Any) -> Representation:
    """Convert a model; `device` is JAX's business."""
    with jax.enable_x64(True):
        return Representation(load(model))


def supports_device(device: str) -> bool:
    """Whether JAX has such a device, by ONNX's name for it: CPU or CUDA."""
    wanted = {"CPU": "cpu", "CUDA": "gpu"}.get(device.split(":")[0])
    return any(d.platform == wanted for d in jax.devices())

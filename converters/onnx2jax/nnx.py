"""A converted model as a flax.nnx module, to be trained on."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import nnx

from onnx2jax.model import Model


class OnnxModule(nnx.Module):
    """The graph as a module: `module(*inputs)`.

    Attributes:
        weights: float weights, `nnx.Param`: what an optimizer trains.
        statistics: means and variances of normalizations, `nnx.BatchStat`: inference leaves them
            as they are, and so does an optimizer of `nnx.Param`.
        constants: quantised weights, which have no gradient, `nnx.Variable`.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        kinds: dict[type, dict[str, Any]] = {nnx.Param: {}, nnx.BatchStat: {}, nnx.Variable: {}}
        running = _running(model)
        for name, value in model.params.items():
            floating = jnp.issubdtype(value.dtype, jnp.floating)
            kind = nnx.BatchStat if name in running else nnx.Param if floating else nnx.Variable
            kinds[kind][name] = kind(value)
        self.weights = nnx.Dict(kinds[nnx.Param])
        self.statistics = nnx.Dict(kinds[nnx.BatchStat])
        self.constants = nnx.Dict(kinds[nnx.Variable])

    def __call__(self, *inputs: Any, key: Any = None) -> Any:
        """What `model(params, *inputs)` gives with the module's own weights."""
        groups = (self.weights, self.statistics, self.constants)
        params = {name: v[...] for group in groups for name, v in group.items()}
        return self.model(params, *inputs, key=key)


def _running(model: Model) -> set[str]:
    """The names of running means and variances."""
    nodes = [node for node in model.graph.nodes if node.op == "BatchNormalization"]
    return {name for node in nodes for name in node.inputs[3:5]}


def to_nnx(model: Model) -> OnnxModule:
    """A flax.nnx module whose parameters train.

    Args:
        model: what `load` gave.

    Returns:
        A module: `nnx.grad`, `nnx.jit` and optimizers of `nnx.Param` apply to it.

    Example:
        >>> module = onnx2jax.to_nnx(m)                                           # doctest: +SKIP
        >>> optimizer = nnx.Optimizer(module, optax.sgd(0.1), wrt=nnx.Param)      # doctest: +SKIP
    """
    return OnnxModule(model)

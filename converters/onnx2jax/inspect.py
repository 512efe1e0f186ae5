"""What a model holds and costs: inputs, operators, parameters, operations, memory."""

from __future__ import annotations

import collections
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from onnx2jax.errors import InputError, OnnxError
from onnx2jax.export import arguments
from onnx2jax.model import Model
from onnx2jax.values import Value


def summary(model: Model) -> dict[str, Any]:
    """Figures of a model, at batch 1 where its batch is free.

    Returns:
        inputs and outputs, opsets, operators with their counts, parameters and their MiB, stages,
        and, where every other dimension is fixed, GFLOP of a forward pass as XLA counts them (a
        multiplication and an addition are two) and the MiB of the values that are alive at once.
    """
    counts = collections.Counter(node.op for node in model.graph.walk())
    weights = model.params.values()
    shown = {
        "inputs": {s.name: f"{s.dtype}{list(s.shape or ())}" for s in model.inputs},
        "outputs": {s.name: f"{s.dtype}{list(s.shape or ())}" for s in model.outputs},
        "opsets": {domain or "ai.onnx": v for domain, v in model.graph.opsets.items()},
        "operators": dict(counts.most_common()),
        "parameters": sum(value.size for value in weights),
        "parameters_mib": round(sum(value.nbytes for value in weights) / 2**20, 2),
        "stages": len(model.stages),
    }
    try:
        return {**shown, **_costs(model)}
    except OnnxError:  # of no fixed shape, or not under jit
        return shown


def example_shapes(model: Model) -> list[tuple[int, ...]]:
    """The inputs' shapes, a free leading dimension taken as 1.

    Raises:
        InputError: another dimension is free.
    """
    for spec in model.inputs:
        if spec.single is None:
            raise InputError(f"input {spec.name!r} has no fixed shape, {spec.shape}")
    return [spec.single for spec in model.inputs if spec.single is not None]


def _costs(model: Model) -> dict[str, float]:
    if model.static_inputs:
        raise InputError("an input decides a shape")
    specs = arguments(model, example_shapes(model))
    # Lowered as for accelerators, where each operator is one: CPUs have forms with fewer products.
    program = jax.jit(model.lowered_for("gpu")).lower(model.params, *specs)
    analysis = program.cost_analysis() or {}
    costs = {"gflop": round(analysis["flops"] / 1e9, 4)} if "flops" in analysis else {}
    return {**costs, "activations_mib": round(_alive(model, specs) / 2**20, 2)}


def _alive(model: Model, specs: list[jax.ShapeDtypeStruct]) -> int:
    """The most bytes of values that are alive at once, node by node."""
    sizes: dict[str, int] = {}

    def trace(params: Any, *inputs: Any) -> None:
        given = {spec.name: x for spec, x in zip(model.inputs, inputs, strict=True)}
        values: dict[str, Value] = {**model.constants, **params, **given}
        model.interpreter.run(model.graph.nodes, values)
        produced = [name for node in model.graph.nodes for name in node.outputs if name]
        for name in (*given, *produced):
            leaves = jax.tree.leaves(values[name])
            sizes[name] = sum(jnp.size(v) * np.dtype(v.dtype).itemsize for v in leaves)

    jax.eval_shape(trace, model.params, *specs)
    last = {name: i for i, node in enumerate(model.graph.nodes) for name in node.reads}
    last.update({spec.name: len(model.graph.nodes) for spec in model.outputs})
    alive = {spec.name for spec in model.inputs}
    most = 0
    for i, node in enumerate(model.graph.nodes):
        alive.update(name for name in node.outputs if name in sizes)
        most = max(most, sum(sizes[name] for name in alive))
        alive = {name for name in alive if last.get(name, -1) > i}
    return most

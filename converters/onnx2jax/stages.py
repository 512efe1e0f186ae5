"""Cut a model into stages where one tensor crosses and its resolution changes.

The channel engine pulls cotangents back stage by stage, with chunks that follow the resolution.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from onnx2jax.errors import OperatorError
from onnx2jax.graph import Node
from onnx2jax.values import Value

if TYPE_CHECKING:
    from onnx2jax.model import Model

Stage = Callable[[Mapping[str, Any], Any], Any]


def split(model: Model) -> tuple[Stage, ...]:
    """The stages of a model; the model itself where it cannot be cut."""
    shape = _input_shape(model)
    if shape is None or len(model.outputs) != 1:
        return (model,)
    prelude, body = _partition(model)
    try:
        shapes = _shapes(model, shape)
    except OperatorError:  # a size that only values decide: it runs outside jit alone
        return (model,)
    cuts = _cuts(body, model.inputs[0].name, model.outputs[0].name, shapes)
    if not cuts:
        return (model,)
    ends = [*cuts, (len(body), model.outputs[0].name)]
    start, entry, result = 0, model.inputs[0].name, []
    for end, leave in ends:
        result.append(_stage(model, prelude, body[start:end], entry, leave))
        start, entry = end, leave
    return tuple(result)


def _stage(
    model: Model, prelude: Sequence[Node], nodes: Sequence[Node], entry: str, leave: str
) -> Stage:
    def stage(params: Mapping[str, Any], x: Any) -> Any:
        values: dict[str, Value] = {**model.constants, **params, entry: x}
        every = [*prelude, *nodes]
        model.interpreter.run(every, values)
        return values[leave]

    return stage


def _input_shape(model: Model) -> tuple[int, ...] | None:
    """The shape of the only input, a free batch taken as 1."""
    return model.inputs[0].single or None if len(model.inputs) == 1 else None


def _partition(model: Model) -> tuple[list[Node], list[Node]]:
    """Nodes that do not depend on the input, which every stage may run, and the others."""
    reached = {spec.name for spec in model.inputs}
    prelude, body = [], []
    for node in model.graph.nodes:
        depends = bool(reached.intersection(node.reads))
        (body if depends else prelude).append(node)
        if depends:
            reached.update(node.outputs)
    return prelude, body


def _shapes(model: Model, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The shape of every value, without computing any."""
    shapes: dict[str, tuple[int, ...]] = {}

    def trace(params: Mapping[str, Any], x: Any) -> None:
        values: dict[str, Value] = {**model.constants, **params, model.inputs[0].name: x}
        model.interpreter.run(model.graph.nodes, values)
        arrays = {name: v for name, v in values.items() if isinstance(v, jax.Array | np.ndarray)}
        shapes.update({name: np.shape(v) for name, v in arrays.items()})

    x = jax.ShapeDtypeStruct(shape, model.inputs[0].dtype or jnp.float32)
    jax.eval_shape(trace, model.params, x)
    return shapes


def _cuts(
    body: Sequence[Node], entry: str, output: str, shapes: Mapping[str, tuple[int, ...]]
) -> list[tuple[int, str]]:
    """(position, name) of the first single tensor of each new resolution."""
    last_use = {name: i for i, node in enumerate(body) for name in node.reads}
    last_use[output] = len(body)
    cuts: list[tuple[int, str]] = []
    live = {entry}
    resolution: tuple[int, ...] | None = None
    for i, node in enumerate(body):
        live = {name for name in live.union(node.outputs) if last_use.get(name, -1) > i}
        if len(live) != 1:
            continue
        (name,) = live
        here = shapes.get(name, ())[2:]
        if len(here) == 2 and here != resolution:
            if resolution is not None:
                cuts.append((i + 1, name))
            resolution = here
    return cuts

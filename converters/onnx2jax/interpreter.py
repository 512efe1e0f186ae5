"""Run a Graph on static and traced values; which constants are parameters."""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from onnx2jax import registry
from onnx2jax.errors import OnnxError, OperatorError, UnsupportedModelError
from onnx2jax.graph import Graph, Node
from onnx2jax.registry import Context, Operator
from onnx2jax.values import Value, is_static


def resolve(graph: Graph) -> dict[int, Operator]:
    """The operator of each node, by the node's id.

    Raises:
        UnsupportedModelError: lists every operator that is missing, once each with its count.
        InvalidModelError: a node does not fit its operator's schema.
    """
    found: dict[int, Operator] = {}
    missing: collections.Counter[str] = collections.Counter()
    for node in graph.walk():
        opset = graph.opsets.get(node.domain, 1)
        operator = registry.find(node.domain, node.op, opset)
        if operator is None:
            domain = f"{node.domain}." if node.domain else ""
            missing[f"{domain}{node.op} (opset {opset})"] += 1
        else:
            found[id(node)] = operator
    if missing:
        rows = ", ".join(f"{name} × {count}" for name, count in sorted(missing.items()))
        raise UnsupportedModelError(
            f"{len(missing)} operators are not supported yet: {rows}. `onnx2jax ops` lists those "
            "that are; CONTRIBUTING.md shows how to add one"
        )
    for node in graph.walk():
        found[id(node)].validate(node)
    return found


def parameter_names(graph: Graph, static: set[str]) -> list[str]:
    """The constants that become parameters: floating weights that no shape depends on.

    A Constant node of one element (a clip's bound, an epsilon) is part of the program, not a
    weight; so is whatever an operator needs as a compile-time constant.
    """
    return [
        name
        for name, value in graph.constants.items()
        if name not in static
        and _is_floating(value)
        and (name in graph.initializers or value.size > 1)
    ]


def _is_floating(value: np.ndarray) -> bool:
    # ml_dtypes' bfloat16 and float8 are of kind 'V'; 'f' is NumPy's own.
    return value.dtype.kind == "f" or value.dtype.name.startswith(("bfloat", "float8"))


def needed_static(graph: Graph, operators: Mapping[int, Operator]) -> set[str]:
    """Names that some operator needs as a constant, followed back to where they come from."""
    needed: set[str] = set()
    for node in reversed(graph.nodes):
        needed.update(operators[id(node)].static_slots(node))
        # A shape is static whatever its input is, so the search ends there.
        if needed.intersection(node.outputs) and node.op not in ("Shape", "Size"):
            needed.update(node.inputs)
    return needed


def run(
    nodes: Sequence[Node],
    operators: Mapping[int, Operator],
    opsets: Mapping[str, int],
    values: dict[str, Value],
    target: str,
) -> None:
    """Evaluate nodes in order, adding what they produce to `values`."""
    for node in nodes:
        context = Context(len(node.outputs), opsets.get(node.domain, 1), target)
        results = evaluate(node, operators[id(node)], values, context)
        values.update(zip(node.outputs, results, strict=False))


def evaluate(
    node: Node, operator: Operator, values: Mapping[str, Value], context: Context
) -> tuple[Value, ...]:
    """One node's outputs, with the node named in whatever goes wrong."""
    if traced := [n for n in operator.static_slots(node) if not is_static(values[n])]:
        raise OperatorError(
            f"{node} needs {traced} as compile-time constants, but they depend on the values of "
            "the model's inputs"
        )
    inputs = [values[name] if name else None for name in node.inputs]
    keywords: dict[str, Any] = dict(node.attributes)
    if operator.wants_context:
        keywords["ctx"] = context
    try:
        result = operator.function(*inputs, **keywords)
    except OnnxError as error:
        raise type(error)(f"{node}: {error}") from None
    except (TypeError, ValueError, IndexError, KeyError, NotImplementedError) as error:
        raise OperatorError(f"{node} on inputs {_describe(inputs)}: {error}") from error
    results = result if isinstance(result, tuple) else (result,)
    return tuple(np.asarray(r) if isinstance(r, np.generic) else r for r in results)


def _describe(inputs: Sequence[Value]) -> str:
    return ", ".join(
        "absent" if v is None else f"{getattr(v, 'dtype', type(v).__name__)}{list(np.shape(v))}"
        for v in inputs
    )

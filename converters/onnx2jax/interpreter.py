"""Run a Graph on static and traced values; which constants are parameters."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from onnx2jax import registry
from onnx2jax.errors import DataDependentError, OnnxError, OperatorError, UnsupportedModelError
from onnx2jax.graph import Graph, Node
from onnx2jax.registry import Context, Operator
from onnx2jax.values import Value, is_static, unfolded


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
    """The constants that become parameters: weights that no shape depends on.

    A Constant node of one element (a clip's bound, an epsilon) is part of the program, not a
    weight; so is whatever an operator needs as a compile-time constant.
    """
    return [
        name
        for name, value in graph.constants.items()
        if name not in static
        and _is_weight(value)
        and (name in graph.initializers or value.size > 1)
    ]


def _is_weight(value: np.ndarray) -> bool:
    # ml_dtypes' bfloat16, float8 and int4 are of kind 'V'; 'f' is NumPy's own.
    floating = value.dtype.kind == "f" or value.dtype.name.startswith(("bfloat", "float"))
    return floating or (value.dtype.name.endswith(("int8", "int4", "int2")) and value.ndim > 1)


def needed_static(
    graph: Graph, operators: Mapping[int, Operator], wanted: Iterable[str] = ()
) -> set[str]:
    """Names that some operator needs as a constant, followed back to where they come from.

    Args:
        graph: its nodes.
        operators: of each node, by the node's id.
        wanted: names that are needed anyway.
    """
    needed = set(wanted)
    for node in reversed(graph.nodes):
        needed.update(operators[id(node)].static_slots(node))
        for body in node.subgraphs:
            asked = body.outputs if needed.intersection(node.outputs) else ()
            inner = needed_static(body, operators, (spec.name for spec in asked))
            needed.update(inner)
            if inner.intersection(spec.name for spec in body.inputs):
                needed.update(node.inputs)
        # A shape is static whatever its input is, so the search ends there.
        if needed.intersection(node.outputs) and node.op not in ("Shape", "Size", "SequenceLength"):
            needed.update(node.inputs)
    return needed


# Elements up to which what is static is computed when a program is traced: shapes are small.
_SMALL = 2**12


@dataclass(frozen=True)
class Interpreter:
    """Evaluates the nodes of a graph.

    Attributes:
        operators: of each node, by the node's id.
        opsets: the version of each domain.
        target: the backend that operators are lowered for.
        max_size: what a size that values decide is padded to; None where it is exact.
    """

    operators: Mapping[int, Operator]
    opsets: Mapping[str, int]
    target: str
    max_size: int | None = None

    def run(
        self,
        nodes: Sequence[Node],
        values: dict[str, Value],
        *,
        key: jax.Array | None = None,
        counts: dict[str, Value] | None = None,
    ) -> None:
        """Evaluate nodes in order, adding what they produce to `values`.

        Args:
            nodes: in an order in which each finds its inputs.
            values: by name.
            key: of random numbers.
            counts: receives how many entries of each padded value are real.
        """
        # ONNX broadcasts and promotes as NumPy does, whatever the caller allows.
        with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
            self._run(nodes, values, key, counts)

    def _run(
        self,
        nodes: Sequence[Node],
        values: dict[str, Value],
        key: jax.Array | None,
        counts: dict[str, Value] | None,
    ) -> None:
        for position, node in enumerate(nodes):
            context = Context(
                n_outputs=len(node.outputs),
                opset=self.opsets.get(node.domain, 1),
                target=self.target,
                max_size=None if self._is_known(node, values) else self.max_size,
                count=partial(_count, node, counts),
                key=key,
                position=position,
                call=partial(self._call, values, key, position),
                gradient=partial(self._gradient, nodes[:position], values),
            )
            results = self.evaluate(node, values, context)
            values.update(zip(node.outputs, results, strict=False))

    def _is_known(self, node: Node, values: Mapping[str, Value]) -> bool:
        """Whether what decides the node's sizes is part of the program."""
        return all(is_static(values[n]) for n in self.operators[id(node)].counted_slots(node))

    def evaluate(
        self, node: Node, values: Mapping[str, Value], context: Context
    ) -> tuple[Value, ...]:
        """One node's outputs, with the node named in whatever goes wrong."""
        operator = self.operators[id(node)]
        known = set(operator.static_slots(node))
        if context.max_size is None:
            known.update(operator.counted_slots(node))
        if traced := sorted(n for n in known if isinstance(values[n], Tracer)):
            raise DataDependentError(_remedy(node, traced, operator))
        given = [(n in known, values[n] if n else None) for n in node.inputs]
        inputs = [_known(v) if is_known else unfolded(v) for is_known, v in given]
        keywords: dict[str, Any] = dict(node.attributes)
        if operator.wants_context:
            keywords["ctx"] = context
        try:
            result = _computed(operator, node, inputs, keywords)
        except OnnxError as error:
            raise type(error)(f"{node}: {error}") from None
        except (TypeError, ValueError, IndexError, KeyError, NotImplementedError) as error:
            raise OperatorError(f"{node} on inputs {_describe(inputs)}: {error}") from error
        # A tuple is several outputs; an output that is itself a sequence is a tuple inside one.
        results = result if isinstance(result, tuple) else (result,)
        return tuple(np.asarray(r) if isinstance(r, np.generic) else r for r in results)

    def _call(
        self,
        values: Mapping[str, Value],
        key: jax.Array | None,
        position: int,
        graph: Graph,
        *inputs: Value,
        step: Any = 0,
    ) -> tuple[Value, ...]:
        """A subgraph's outputs; it sees all that is around it."""
        names = [spec.name for spec in graph.inputs]
        if len(names) != len(inputs):
            raise ValueError(f"its subgraph takes {len(names)} inputs and is given {len(inputs)}")
        inner = {**values, **graph.constants, **dict(zip(names, inputs, strict=True))}
        if key is not None:  # another one for each node and iteration
            key = jax.random.fold_in(jax.random.fold_in(key, position), step)
        self.run(graph.nodes, inner, key=key)
        return tuple(inner[spec.name] for spec in graph.outputs)

    def _gradient(
        self,
        nodes: Sequence[Node],
        values: Mapping[str, Value],
        y: str,
        names: Sequence[str],
        at: Sequence[Value],
    ) -> tuple[Value, ...]:
        """The gradient of the sum of `y` with respect to the named values, at those values."""
        later = [node for node in nodes if not set(node.outputs) & set(names)]

        def summed(xs: Sequence[Value]) -> Value:
            inner = {**values, **dict(zip(names, xs, strict=True))}
            self.run(later, inner)
            return jnp.sum(inner[y])

        return tuple(jax.grad(summed)(list(map(jnp.asarray, at))))


def _computed(
    operator: Operator, node: Node, inputs: Sequence[Value], keywords: Mapping[str, Any]
) -> Any:
    """An operator's result; a small one of static inputs is static, whatever computes it."""
    result = operator.function(*inputs, **keywords)
    static = bool(inputs) and all(map(is_static, inputs)) and not node.subgraphs
    made = jax.tree.leaves(result)
    if not static or operator.is_random or all(map(is_static, made)):
        return result
    if sum(np.size(x) for x in (*inputs, *made) if hasattr(x, "shape")) > _SMALL:
        return result
    if any(isinstance(x, Tracer) for x in made):  # staged: once more, at once
        with jax.ensure_compile_time_eval():
            result = operator.function(*inputs, **keywords)
    return jax.tree.map(_known, result)


def _known(value: Value) -> Value:
    """A value that must be known, as NumPy."""
    return np.asarray(value) if isinstance(value, jax.Array) else value


def _count(node: Node, counts: dict[str, Value] | None, count: Value) -> None:
    if counts is None:
        raise DataDependentError(
            f"{node} is inside a subgraph, where a padded size cannot be reported; load the model "
            "without max_size and call it outside jit"
        )
    counts[node.outputs[0]] = count


def _remedy(node: Node, traced: Sequence[str], operator: Operator) -> str:
    if set(traced) <= set(operator.counted_slots(node)):
        return (
            f"the values of {traced} decide how large the result of {node} is, and they are "
            "traced: load the model with max_size=, which pads and counts, or call it outside jit"
        )
    return (
        f"{node} needs {traced} as compile-time constants, but they depend on the values of "
        "the model's inputs, which are traced: close over these, or call the model outside jit"
    )


def _describe(inputs: Sequence[Value]) -> str:
    return ", ".join(map(_described, inputs))


def _described(value: Value) -> str:
    if value is None:
        return "absent"
    if isinstance(value, tuple):
        return f"({_describe(value)})"
    return f"{getattr(value, 'dtype', type(value).__name__)}{list(np.shape(value))}"

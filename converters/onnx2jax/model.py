"""An ONNX model as a pure JAX function and its parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from onnx2jax import graph as graphs
from onnx2jax import interpreter, stages
from onnx2jax.errors import InputError
from onnx2jax.graph import Graph, Source, TensorSpec
from onnx2jax.lowering.channels_last import channels_last
from onnx2jax.values import Value


class Model:
    """A pure function `model(params, *inputs)` converted from an ONNX graph.

    Hashable by identity, so `jax.jit(model)`, `vmap`, `grad`, `scan` and sharding apply to it as
    to any function.

    Attributes:
        graph: the parsed graph, without the weights that are in `params`.
        inputs: name, dtype and shape of each input, in the graph's order.
        outputs: the same of each output.
        static_inputs: names of the inputs that decide a shape and so cannot be traced.
        params: the floating weights, a flat dict named as in the file.
        target: the backend that operators are lowered for, or None for JAX's default one at the
            time of tracing.
    """

    def __init__(self, graph: Graph, target: str | None = None) -> None:
        self.inputs: tuple[TensorSpec, ...] = graph.inputs
        self.outputs: tuple[TensorSpec, ...] = graph.outputs
        self.target = target
        self.operators = interpreter.resolve(graph)
        needed = interpreter.needed_static(graph, self.operators)
        self.static_inputs = frozenset(spec.name for spec in graph.inputs if spec.name in needed)
        names = set(interpreter.parameter_names(graph, needed))
        self.constants = {n: v for n, v in graph.constants.items() if n not in names}
        self._weights = {n: v for n, v in graph.constants.items() if n in names}
        self.graph = replace(graph, constants=self.constants)  # the weights are kept once

    @cached_property
    def params(self) -> dict[str, jax.Array]:
        # One by one, NumPy's copy let go: a large network is never in memory twice.
        names = list(self._weights)
        return {name: jnp.asarray(self._weights.pop(name)) for name in names}

    def __call__(self, params: Mapping[str, Any], *inputs: Any) -> Any:
        """Evaluate the graph.

        Args:
            params: the weights, as in `self.params`.
            *inputs: one array an input, in the graph's order. A graph whose file fixes the
                batch (to 1, say) takes any multiple of it, through `vmap`.

        Returns:
            The output, or a tuple of outputs in the graph's order.

        Raises:
            InputError: the inputs do not fit the declared ones.
            OperatorError: an operator cannot be evaluated; the message names the node.
        """
        if len(inputs) != len(self.inputs):
            wanted = ", ".join(spec.name for spec in self.inputs)
            raise InputError(
                f"{len(inputs)} inputs given, {len(self.inputs)} wanted: {wanted}; call it as "
                "model(params, *inputs)"
            )
        values = [self._input(spec, x) for spec, x in zip(self.inputs, inputs, strict=True)]
        groups = self._groups(values)
        if groups is None:
            return self._evaluate(params, values)
        batched = [x.reshape(groups, -1, *x.shape[1:]) for x in values]
        outputs = jax.vmap(lambda *xs: self._evaluate(params, list(xs)))(*batched)
        return jax.tree.map(lambda y: y.reshape(-1, *y.shape[2:]), outputs)

    def _input(self, spec: TensorSpec, x: Any) -> Value:
        """One input, in the world that its use asks for: NumPy where a shape depends on it."""
        if spec.name not in self.static_inputs:
            value = x if isinstance(x, jax.Array) else jnp.asarray(x)
        elif isinstance(x, Tracer):
            raise InputError(
                f"input {spec.name!r} decides a shape, so it cannot be traced: close over its "
                "value, as in jax.jit(lambda params, x: model(params, x, value))"
            )
        else:
            value = np.asarray(x)
        if not _fits(spec, value, skip_batch=self._fixed_batch is not None):
            raise InputError(
                f"input {spec.name!r} has shape {value.shape}; the model declares {spec.shape}"
            )
        return value

    def _evaluate(self, params: Mapping[str, Any], inputs: list[Value]) -> Any:
        given = {spec.name: x for spec, x in zip(self.inputs, inputs, strict=True)}
        traced = any(isinstance(x, Tracer) for x in inputs)
        if self.resolved_target != "cpu" or not traced:  # outside a trace values must be seen
            return self._run({**params, **given})
        static = {name: given.pop(name) for name in self.static_inputs}
        return channels_last(lambda arrays: self._run({**static, **arrays}))({**params, **given})

    def _run(self, given: Mapping[str, Any]) -> Any:
        values = {**self.constants, **given}
        interpreter.run(
            self.graph.nodes, self.operators, self.graph.opsets, values, self.resolved_target
        )
        outputs = tuple(jnp.asarray(values[spec.name]) for spec in self.outputs)
        return outputs[0] if len(outputs) == 1 else outputs

    @property
    def resolved_target(self) -> str:
        return self.target or jax.default_backend()

    @cached_property
    def _fixed_batch(self) -> int | None:
        """The leading dimension that the file fixes for every input and output, if it does."""
        specs = self.inputs + self.outputs
        leading = {spec.shape[0] if spec.shape else None for spec in specs}
        batch = leading.pop() if len(leading) == 1 else None
        return batch if self.inputs and isinstance(batch, int) and batch > 0 else None

    def _groups(self, inputs: list[Value]) -> int | None:
        """Into how many groups of the fixed batch the inputs fall; None where they are one."""
        batches = {np.shape(x)[0] if np.ndim(x) else None for x in inputs}
        if self._fixed_batch is None or batches == {self._fixed_batch}:
            return None
        batch = batches.pop()
        if batches or not batch or batch % self._fixed_batch:
            raise InputError(
                f"the batch is {batch}; it must be one multiple of {self._fixed_batch}, the batch "
                "that the file fixes, for all inputs"
            )
        return batch // self._fixed_batch

    @cached_property
    def stages(self) -> tuple[Callable[[Mapping[str, Any], Any], Any], ...]:
        """Pure functions `(params, x) → x` whose composition is the model.

        They are cut where a single tensor crosses and its resolution changes. A model of several
        inputs or outputs, or of unknown shapes, is one stage.
        """
        return stages.split(self)

    def __repr__(self) -> str:
        inputs = ", ".join(f"{s.name}{list(s.shape or ())}" for s in self.inputs)
        outputs = ", ".join(f"{s.name}{list(s.shape or ())}" for s in self.outputs)
        return f"onnx2jax.Model({inputs} → {outputs}, {len(self.graph.nodes)} nodes)"


def _fits(spec: TensorSpec, x: Value, *, skip_batch: bool) -> bool:
    if spec.shape is None:
        return True
    if len(spec.shape) != x.ndim:
        return False
    start = 1 if skip_batch else 0
    pairs = list(zip(spec.shape, x.shape, strict=True))[start:]
    return all(want == got for want, got in pairs if isinstance(want, int))


def load(source: Source, *, target: str | None = None) -> Model:
    """Convert an ONNX model into a pure JAX function.

    Args:
        source: the path of an .onnx file (external data beside it), its bytes, or a ModelProto.
        target: "cpu", "gpu" or "tpu" to lower operators for that backend, whichever runs here;
            None for the backend that runs here.

    Returns:
        A `Model`: `y = m(m.params, x)`.

    Raises:
        InvalidModelError: the file cannot be read or is not a valid model.
        UnsupportedModelError: it needs operators that are not written yet; all are listed.

    Example:
        >>> import numpy as np, onnx, onnx2jax
        >>> from onnx import TensorProto, helper
        >>> x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])
        >>> y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])
        >>> graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
        >>> m = onnx2jax.load(helper.make_model(graph))
        >>> m(m.params, np.float32([[-1, 2]])).tolist()
        [[0.0, 2.0]]
    """
    return Model(graphs.parse(source), target)

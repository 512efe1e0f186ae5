"""An ONNX model as a pure JAX function and its parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from onnx2jax import interpreter, registry, stages
from onnx2jax.errors import InputError
from onnx2jax.graph import Graph, TensorSpec
from onnx2jax.interpreter import Interpreter
from onnx2jax.lowering.channels_last import channels_last
from onnx2jax.values import Value

if TYPE_CHECKING:
    from onnx2jax.reader import Source


class Model:
    """A pure function `model(params, *inputs)` converted from an ONNX graph.

    Hashable by identity, so `jax.jit(model)`, `vmap`, `grad`, `scan` and sharding apply to it as
    to any function.

    Attributes:
        graph: the parsed graph, without the weights that are in `params`.
        inputs: name, dtype and shape of each input, in the graph's order.
        outputs: the same of each output.
        static_inputs: names of the inputs that decide a shape, or hold strings, and so cannot be
            traced.
        params: the weights, a flat dict named as in the file.
        target: the backend that operators are lowered for, or None for JAX's default one at the
            time of tracing.
        max_size: what a size that only values decide (of NonZero, say) is padded to, or None.
    """

    def __init__(
        self, graph: Graph, target: str | None = None, max_size: int | None = None
    ) -> None:
        self.inputs: tuple[TensorSpec, ...] = graph.inputs
        self.outputs: tuple[TensorSpec, ...] = graph.outputs
        self.target = target
        self.max_size = max_size
        self.operators = interpreter.resolve(graph)
        needed = interpreter.needed_static(graph, self.operators)
        self.static_inputs = frozenset(
            spec.name for spec in graph.inputs if spec.name in needed or spec.dtype == object
        )
        names = set(interpreter.parameter_names(graph, needed))
        self.constants = {n: v for n, v in graph.constants.items() if n not in names}
        self._weights = {n: v for n, v in graph.constants.items() if n in names}
        self.graph = replace(graph, constants=self.constants)  # the weights are kept once

    @cached_property
    def params(self) -> dict[str, jax.Array]:
        # One by one, NumPy's copy let go: a large network is never in memory twice.
        names = list(self._weights)
        return {name: jnp.asarray(self._weights.pop(name)) for name in names}

    def lowered_for(self, target: str) -> Model:
        """The same model, its operators lowered for another backend; the weights are shared."""
        self.params  # noqa: B018  read once, before there are two of us
        other = copy.copy(self)
        other.__dict__.pop("stages", None)
        other.target = target
        return other

    @property
    def interpreter(self) -> Interpreter:
        """What evaluates the graph's nodes."""
        opsets = self.graph.opsets
        return Interpreter(self.operators, opsets, self.resolved_target, self.max_size)

    def __call__(self, params: Mapping[str, Any], *inputs: Any, key: Any = None) -> Any:
        """Evaluate the graph.

        Args:
            params: the weights, as in `self.params`.
            *inputs: one array an input, in the graph's order; a tuple of arrays where it is a
                sequence, None for an absent optional. A graph whose file fixes the batch (to 1,
                say) takes any multiple of it, through `vmap`.
            key: a `jax.random.key`, for a graph that draws random numbers.

        Returns:
            The output, or a tuple of outputs in the graph's order. With `max_size`,
            (that, counts): `counts` maps the name of each value whose size its values decide to
            how many of its entries are real; those behind them are padding.

        Raises:
            InputError: the inputs do not fit the declared ones.
            DataDependentError: a size or a branch depends on a traced value; outside `jit` the
                same call works.
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
            return self._evaluate(params, values, key)
        batched = [x.reshape(groups, -1, *x.shape[1:]) for x in values]
        outputs = jax.vmap(lambda *xs: self._evaluate(params, list(xs), key))(*batched)
        return jax.tree.map(lambda y: y.reshape(-1, *y.shape[2:]), outputs)

    def _input(self, spec: TensorSpec, x: Any) -> Value:
        """One input, in the world that its use asks for: NumPy where a shape depends on it."""
        if x is None and spec.kind == "optional":
            return None
        if spec.kind != "tensor" and isinstance(x, list | tuple):
            return tuple(self._array(spec, element) for element in x)
        value = self._array(spec, x)
        if spec.kind == "tensor" and not _fits(spec, value, skip_batch=bool(self._fixed_batch)):
            raise InputError(
                f"input {spec.name!r} has shape {value.shape}; the model declares {spec.shape}"
            )
        return value

    def _array(self, spec: TensorSpec, x: Any) -> Value:
        if spec.name not in self.static_inputs:
            return x if isinstance(x, jax.Array) else jnp.asarray(x)
        if isinstance(x, Tracer):
            raise InputError(
                f"input {spec.name!r} decides a shape, so it cannot be traced: close over its "
                "value, as in jax.jit(lambda params, x: model(params, x, value))"
            )
        return np.asarray(x)

    def _evaluate(self, params: Mapping[str, Any], inputs: list[Value], key: Any) -> Any:
        given = {spec.name: x for spec, x in zip(self.inputs, inputs, strict=True)}
        traced = any(isinstance(x, Tracer) for x in jax.tree.leaves(inputs))
        # Outside a trace values must be seen.
        if self.resolved_target != "cpu" or not traced or not self._is_convolutional:
            return self._run({**params, **given}, key)
        static = {name: given.pop(name) for name in self.static_inputs}
        evaluate = channels_last(lambda arrays, key: self._run({**static, **arrays}, key))
        return evaluate({**params, **given}, key)

    def _run(self, given: Mapping[str, Any], key: Any) -> Any:
        values = {**self.constants, **given}
        counts: dict[str, Value] = {}
        self.interpreter.run(self.graph.nodes, values, key=key, counts=counts)
        outputs = tuple(jax.tree.map(_result, values[spec.name]) for spec in self.outputs)
        result = outputs[0] if len(outputs) == 1 else outputs
        return result if self.max_size is None else (result, counts)

    @property
    def resolved_target(self) -> str:
        return self.target or jax.default_backend()

    @cached_property
    def _is_convolutional(self) -> bool:
        """Whether the order of axes matters: not for a transformer, whose patches are one Conv."""
        nodes = [n for n in self.graph.walk() if "Conv" in n.op]
        return len(nodes) > 1 or any(n.attributes.get("group", 1) > 1 for n in nodes)

    @cached_property
    def _fixed_batch(self) -> int | None:
        """The leading dimension that the file fixes for every input and output, if it does."""
        specs = self.inputs + self.outputs
        if any(spec.kind != "tensor" for spec in specs):
            return None
        leading = {spec.shape[0] if spec.shape else None for spec in specs}
        batch = leading.pop() if len(leading) == 1 else None
        return batch if self.inputs and isinstance(batch, int) and batch > 0 else None

    def _groups(self, inputs: list[Value]) -> int | None:
        """Into how many groups of the fixed batch the inputs fall; None where they are one."""
        if any(isinstance(x, tuple) or x is None for x in inputs):
            return None
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


def _result(value: Value) -> Value:
    """An output as an array of JAX; strings stay NumPy's."""
    strings = isinstance(value, np.ndarray) and value.dtype.kind in "OUS"
    return value if strings else jnp.asarray(value)


def _fits(spec: TensorSpec, x: Value, *, skip_batch: bool) -> bool:
    if spec.shape is None:
        return True
    if len(spec.shape) != x.ndim:
        return False
    start = 1 if skip_batch else 0
    pairs = list(zip(spec.shape, x.shape, strict=True))[start:]
    return all(want == got for want, got in pairs if isinstance(want, int))


def load(source: Source, *, target: str | None = None, max_size: int | None = None) -> Model:
    """Convert an ONNX model into a pure JAX function.

    Args:
        source: the path of an .onnx file (external data beside it), its bytes, a ModelProto, or a
            directory that `save` wrote, which needs no onnx.
        target: "cpu", "gpu" or "tpu" to lower operators for that backend, whichever runs here;
            None for the backend that runs here.
        max_size: pad what only values decide the size of (NonZero, Unique, Compress,
            NonMaxSuppression) to so many entries, so that such a model runs under `jit`; it then
            returns (outputs, counts). None: such sizes are exact, outside `jit` alone.

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
    if isinstance(source, str | Path) and Path(source).is_dir():
        from onnx2jax import saved

        return Model(saved.read(Path(source)), target, max_size)
    from onnx2jax import reader  # which needs onnx

    graph = reader.parse(source, supported=lambda *name: registry.find(*name) is not None)
    return Model(graph, target, max_size)

"""ModelProto → a frozen Graph: attributes decoded once, constants as NumPy, names resolved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from onnx2jax.errors import InvalidModelError, UnsupportedModelError

Source = str | Path | bytes | onnx.ModelProto


@dataclass(frozen=True)
class TensorSpec:
    """Name, dtype and shape of a graph's input or output.

    A dimension is an int, a str (named in the file) or None (unknown); `shape` is None where the
    rank itself is unknown, `dtype` where the file does not state it.
    """

    name: str
    dtype: np.dtype | None
    shape: tuple[int | str | None, ...] | None


@dataclass(frozen=True)
class Node:
    """One operator call; an absent optional input or an unused output is ''."""

    op: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    def __str__(self) -> str:
        label = self.name or (self.outputs[0] if self.outputs else "?")
        return f"{self.domain + '.' if self.domain else ''}{self.op} node {label!r}"


@dataclass(frozen=True)
class Graph:
    """Nodes in topological order, and every constant that the file holds."""

    name: str
    nodes: tuple[Node, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    constants: Mapping[str, np.ndarray]
    initializers: frozenset[str]  # those of `constants` that the file keeps as weights
    opsets: Mapping[str, int]

    def walk(self) -> Iterator[Node]:
        """Every node, those of subgraphs included."""
        for node in self.nodes:
            yield node
            for value in node.attributes.values():
                if isinstance(value, Graph):
                    yield from value.walk()


def label(source: Source) -> str:
    """What messages call a model."""
    if isinstance(source, onnx.ModelProto):
        return "the ModelProto"
    return f"{len(source)} bytes" if isinstance(source, bytes) else str(source)


def read_proto(source: Source) -> onnx.ModelProto:
    """Read a model, external data included, through onnx's own guarded loader."""
    if isinstance(source, onnx.ModelProto):
        return source
    where = label(source)
    if not isinstance(source, bytes) and not Path(source).is_file():
        raise InvalidModelError(f"no such file: {where}; give the path of an .onnx file")
    try:
        if isinstance(source, bytes):
            return onnx.load_from_string(source)
        return onnx.load(str(source))
    except (DecodeError, onnx.checker.ValidationError, OSError, ValueError) as error:
        raise InvalidModelError(
            f"{where} cannot be read as an ONNX model ({error}); the file may be truncated, "
            "or lack its external data beside it"
        ) from None


def parse(source: Source) -> Graph:
    """Read a model into a `Graph`.

    Raises:
        InvalidModelError: the file is missing, unreadable, empty, cyclic or refers to values that
            do not exist.
    """
    proto = read_proto(source)
    if not proto.graph.output:
        raise InvalidModelError("the model has no outputs: an empty or truncated file?")
    opsets = {_domain(o.domain): o.version for o in proto.opset_import}
    if not opsets:
        raise InvalidModelError("the model declares no opset: opset_import is empty")
    if proto.functions:
        proto = onnx.inliner.inline_local_functions(proto)
    return _graph(proto.graph, opsets, outer=frozenset())


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _graph(proto: onnx.GraphProto, opsets: Mapping[str, int], outer: frozenset[str]) -> Graph:
    initializers = {t.name: _array(t) for t in proto.initializer}
    constants = dict(initializers)
    inputs = tuple(_spec(v) for v in proto.input if v.name not in initializers)
    kept = {v.name for v in proto.output}
    alias: dict[str, str] = {}
    nodes: list[Node] = []
    known = {"", *outer, *constants, *(spec.name for spec in inputs)}
    for node_proto in proto.node:
        node = _node(node_proto, opsets, frozenset(known))
        node = replace(node, inputs=tuple(alias.get(n, n) for n in node.inputs))
        _check_names(node, known)
        known.update(node.outputs)
        if node.op == "Constant" and not node.domain:
            constants[node.outputs[0]] = _constant_value(node)
        elif _is_weight_alias(node, constants) and node.outputs[0] not in kept:
            # Old PyTorch exporters share a weight through Identity: one parameter, not two.
            alias[node.outputs[0]] = node.inputs[0]
        else:
            nodes.append(node)
    if missing := kept - known:
        raise InvalidModelError(f"graph outputs that no node produces: {sorted(missing)}")
    return Graph(
        name=proto.name,
        nodes=tuple(nodes),
        inputs=inputs,
        outputs=tuple(_spec(v) for v in proto.output),
        constants=constants,
        initializers=frozenset(initializers),
        opsets=opsets,
    )


def _check_names(node: Node, known: Iterable[str]) -> None:
    if missing := [n for n in node.inputs if n not in known]:
        raise InvalidModelError(
            f"{node} reads {missing}, which nothing before it produces: the graph is cyclic, "
            "out of order or incomplete"
        )
    if repeated := [n for n in node.outputs if n and n in known]:
        raise InvalidModelError(f"{node} produces {repeated}, which exist already")


def _is_weight_alias(node: Node, constants: Mapping[str, np.ndarray]) -> bool:
    return node.op == "Identity" and not node.domain and node.inputs[0] in constants


def _node(proto: onnx.NodeProto, opsets: Mapping[str, int], known: frozenset[str]) -> Node:
    return Node(
        op=proto.op_type,
        domain=_domain(proto.domain),
        name=proto.name,
        inputs=tuple(proto.input),
        outputs=tuple(proto.output),
        attributes={
            a.name: _attribute(a, opsets, known)
            for a in proto.attribute
            if a.name != "consumed_inputs"  # opset 1's hint on memory; it says nothing of values
        },
    )


def _attribute(proto: onnx.AttributeProto, opsets: Mapping[str, int], known: frozenset[str]) -> Any:
    if proto.type == onnx.AttributeProto.GRAPH:
        return _graph(proto.g, opsets, outer=known)
    if proto.type == onnx.AttributeProto.TENSOR:
        return _array(proto.t)
    if proto.type == onnx.AttributeProto.STRING:
        return proto.s.decode("utf-8", "replace")
    if proto.type == onnx.AttributeProto.STRINGS:
        return [s.decode("utf-8", "replace") for s in proto.strings]
    value = onnx.helper.get_attribute_value(proto)
    return list(value) if isinstance(value, Iterable) else value


def _array(proto: onnx.TensorProto) -> np.ndarray:
    try:
        return numpy_helper.to_array(proto)
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidModelError(f"tensor {proto.name!r} cannot be decoded: {error}") from None


def _constant_value(node: Node) -> np.ndarray:
    """The value of a Constant node, whichever of its attributes carries it."""
    kinds = {"value_float": np.float32, "value_floats": np.float32}
    kinds |= {"value_int": np.int64, "value_ints": np.int64}
    kinds |= {"value_string": np.str_, "value_strings": np.str_}
    for name, value in node.attributes.items():
        if name == "value":
            return value
        if name in kinds:
            return np.asarray(value, kinds[name])
    raise InvalidModelError(f"{node} has no value that is understood: {sorted(node.attributes)}")


def _spec(proto: onnx.ValueInfoProto) -> TensorSpec:
    kind = proto.type.WhichOneof("value")
    if kind not in (None, "tensor_type"):
        raise UnsupportedModelError(f"{proto.name!r} is a {kind}; only tensors are supported yet")
    if proto.type.tensor_type.elem_type == onnx.TensorProto.STRING:
        raise UnsupportedModelError(f"{proto.name!r} holds strings, which are not supported yet")
    if kind is None:
        return TensorSpec(proto.name, None, None)
    tensor = proto.type.tensor_type
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    except KeyError:
        raise InvalidModelError(
            f"{proto.name!r} has an unknown element type, {tensor.elem_type}"
        ) from None
    if not tensor.HasField("shape"):
        return TensorSpec(proto.name, dtype, None)
    dims = [d.dim_value if d.HasField("dim_value") else d.dim_param for d in tensor.shape.dim]
    return TensorSpec(proto.name, dtype, tuple(d if d != "" else None for d in dims))

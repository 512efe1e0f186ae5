"""ModelProto → Graph: attributes decoded once, functions inlined, names resolved."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from onnx2jax import hub_cache
from onnx2jax.errors import InvalidModelError, UnsupportedModelError
from onnx2jax.functions import inlined, plain_domain, with_functions
from onnx2jax.graph import Graph, Node, TensorSpec
from onnx2jax.values import dtype_of

_LARGEST_DENSE = 2**28  # elements of a sparse constant
_LARGEST_FILLED = 2**25  # elements of all that ConstantOfShape fills when a file is read

Source = str | Path | bytes | onnx.ModelProto


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
        snapshot = hub_cache.snapshot_of(Path(source))
        return hub_cache.load(Path(source), snapshot) if snapshot else onnx.load(str(source))
    except (DecodeError, onnx.checker.ValidationError, OSError, ValueError) as error:
        raise InvalidModelError(
            f"{where} cannot be read as an ONNX model ({error}); the file may be truncated, "
            "or lack its external data beside it"
        ) from None


def parse(source: Source, supported: Callable[[str, str, int], bool] | None = None) -> Graph:
    """Read a model into a `Graph`.

    Args:
        source: the file, its bytes or its proto.
        supported: (domain, operator, opset) → whether it is known; the others are replaced by the
            function that ONNX defines them with, where there is one.

    Raises:
        InvalidModelError: the file is missing, unreadable, empty, cyclic or refers to values that
            do not exist.
    """
    proto = read_proto(source)
    if not proto.graph.output:
        raise InvalidModelError("the model has no outputs: an empty or truncated file?")
    opsets = _opsets(proto)
    if not opsets:
        raise InvalidModelError("the model declares no opset: opset_import is empty")
    if proto.functions:
        proto = inlined(proto)
    if supported:
        proto = with_functions(proto, supported)
    return _graph(proto.graph, _opsets(proto), outer=frozenset())


def _opsets(proto: onnx.ModelProto) -> dict[str, int]:
    return {plain_domain(o.domain): o.version for o in proto.opset_import}


def _graph(proto: onnx.GraphProto, opsets: Mapping[str, int], outer: frozenset[str]) -> Graph:
    initializers = {t.name: _array(t) for t in proto.initializer}
    constants = dict(initializers)
    inputs = tuple(_spec(v) for v in proto.input if v.name not in initializers)
    kept = {v.name for v in proto.output}
    alias: dict[str, str] = {}
    weights, budget = set(initializers), _LARGEST_FILLED
    nodes: list[Node] = []
    known = {"", *outer, *constants, *(spec.name for spec in inputs)}
    for node_proto in proto.node:
        node = _node(node_proto, opsets, frozenset(known))
        node = replace(node, inputs=tuple(alias.get(n, n) for n in node.inputs))
        _check_names(node, known)
        known.update(node.outputs)
        if node.op == "Constant" and not node.domain:
            constants[node.outputs[0]] = _constant_value(node)
        elif (filled := _filled(node, constants, budget)) is not None:
            budget -= filled.size
            constants[node.outputs[0]] = filled
            weights.add(node.outputs[0])
        elif _is_weight_alias(node, constants) and node.outputs[0] not in kept:
            # Old PyTorch exporters share a weight through Identity: one parameter, not two.
            alias[node.outputs[0]] = node.inputs[0]
        else:
            nodes.append(node)
    for name in {name for node in nodes for body in node.subgraphs for name in body.free}:
        if name in alias:  # a subgraph has names of its own for what is around it
            constants[name] = constants[alias[name]]
    if missing := kept - known:
        raise InvalidModelError(f"graph outputs that no node produces: {sorted(missing)}")
    return Graph(
        name=proto.name,
        nodes=tuple(nodes),
        inputs=inputs,
        outputs=tuple(_spec(v) for v in proto.output),
        constants=constants,
        initializers=frozenset(weights),
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


def _filled(node: Node, constants: Mapping[str, np.ndarray], budget: int) -> np.ndarray | None:
    """The floats that a ConstantOfShape node makes, which are weights as any others.

    XLA:CPU (0.10 to 0.12) sums, or pools, the product with a matrix that it knows to be one number
    everywhere to garbage; of a parameter it knows nothing.
    """
    if node.op != "ConstantOfShape" or node.domain or node.inputs[0] not in constants:
        return None
    value = node.attributes.get("value", np.zeros(1, np.float32))
    shape = [int(n) for n in constants[node.inputs[0]].reshape(-1)]
    if value.dtype.kind != "f" or value.size != 1 or min(shape, default=0) < 1:
        return None
    return np.full(shape, value.reshape(())) if 1 < math.prod(shape) <= budget else None


def _is_weight_alias(node: Node, constants: Mapping[str, np.ndarray]) -> bool:
    return node.op == "Identity" and not node.domain and node.inputs[0] in constants


def _node(proto: onnx.NodeProto, opsets: Mapping[str, int], known: frozenset[str]) -> Node:
    return Node(
        op=proto.op_type,
        domain=plain_domain(proto.domain),
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
    if proto.type == onnx.AttributeProto.SPARSE_TENSOR:
        return _dense(proto.sparse_tensor)
    if proto.type == onnx.AttributeProto.STRING:
        return proto.s.decode("utf-8", "replace")
    if proto.type == onnx.AttributeProto.STRINGS:
        return [s.decode("utf-8", "replace") for s in proto.strings]
    value = onnx.helper.get_attribute_value(proto)
    return list(value) if isinstance(value, Iterable) else value


def _array(proto: onnx.TensorProto) -> np.ndarray:
    dtype_of(proto.data_type)  # onnx decodes types that JAX has not
    try:
        return numpy_helper.to_array(proto)
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidModelError(f"tensor {proto.name!r} cannot be decoded: {error}") from None


def _constant_value(node: Node) -> np.ndarray:
    """The value of a Constant node, whichever of its attributes carries it."""
    kinds = {"value_float": np.float32, "value_floats": np.float32}
    kinds |= {"value_int": np.int64, "value_ints": np.int64}
    kinds |= {"value_string": np.object_, "value_strings": np.object_}
    for name, value in node.attributes.items():
        if name in ("value", "sparse_value"):
            return value
        if name in kinds:
            try:
                return np.asarray(value, kinds[name])
            except (TypeError, ValueError) as error:
                raise InvalidModelError(f"{node} has a broken {name}: {error}") from None
    raise InvalidModelError(f"{node} has no value that is understood: {sorted(node.attributes)}")


def _dense(proto: onnx.SparseTensorProto) -> np.ndarray:
    """A sparse constant, its indices linear (NNZ,) or of coordinates (NNZ, rank)."""
    values, indices = _array(proto.values), _array(proto.indices)
    dims = tuple(proto.dims)
    if math.prod(dims) > _LARGEST_DENSE:
        raise UnsupportedModelError(f"a sparse constant of shape {dims} is too large")
    dense = np.zeros(dims, values.dtype)
    try:
        if indices.ndim == 1:
            dense.reshape(-1)[indices] = values
        else:
            dense[tuple(indices.T)] = values
    except (IndexError, ValueError) as error:
        raise InvalidModelError(f"a sparse constant cannot be decoded: {error}") from None
    return dense


def _spec(proto: onnx.ValueInfoProto) -> TensorSpec:
    try:
        return _typed(proto.name, proto.type)
    except KeyError as error:
        raise InvalidModelError(f"{proto.name!r} has an unknown element type, {error}") from None


def _typed(name: str, proto: onnx.TypeProto) -> TensorSpec:
    """The specification of a value of that type."""
    kind = proto.WhichOneof("value")
    if kind is None:
        return TensorSpec(name, None, None)
    if kind in ("sequence_type", "optional_type"):
        element = _typed(name, getattr(proto, kind).elem_type)
        return replace(element, kind=kind.removesuffix("_type"))
    if kind != "tensor_type":
        raise UnsupportedModelError(
            f"{name!r} is a {kind}; only tensors, sequences and optionals are supported"
        )
    tensor = proto.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    if not tensor.HasField("shape"):
        return TensorSpec(name, dtype, None)
    dims = [d.dim_value if d.HasField("dim_value") else d.dim_param for d in tensor.shape.dim]
    return TensorSpec(name, dtype, tuple(d if d != "" else None for d in dims))

"""Functions: those that a file defines, and those that ONNX defines its own operators with."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import onnx
import onnx.inliner

from onnx2jax.errors import InvalidModelError

Supported = Callable[[str, str, int], bool]  # (domain, operator, opset) → whether it is known
_DOMAIN = "onnx2jax.functions"
_DEPTH = 8  # functions of functions


def plain_domain(name: str) -> str:
    """ONNX's own domain has two names."""
    return "" if name == "ai.onnx" else name


def inlined(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with calls of its own functions replaced by their bodies.

    Raises:
        InvalidModelError: they cannot be.
    """
    with _guarded():
        return onnx.inliner.inline_local_functions(proto)


@contextlib.contextmanager
def _guarded() -> Iterator[None]:
    """The inliner and the inference of types are C++, with exceptions of their own."""
    try:
        yield
    except Exception as error:
        raise InvalidModelError(f"its functions cannot be inlined: {error}") from None


def with_functions(proto: onnx.ModelProto, supported: Supported) -> onnx.ModelProto:
    """The model with operators that are not known replaced by what ONNX defines them with.

    An operator that ONNX does not define so is left, for a message that lists all of them.

    Raises:
        InvalidModelError: a node does not fit what ONNX defines.
    """
    for _ in range(_DEPTH):
        with _guarded():
            called = _calling_functions(proto, supported)
        if called is None:
            return proto
        proto = inlined(called)
    return proto


def _calling_functions(proto: onnx.ModelProto, supported: Supported) -> onnx.ModelProto | None:
    """The model with such operators made calls of functions of its own; None: there are none."""
    opsets = {plain_domain(o.domain): o.version for o in proto.opset_import}
    missing = [n for n in _nodes(proto.graph) if not _is_known(n, opsets, supported)]
    if not any(_schema(node, opsets) for node in missing):
        return None
    changed = onnx.ModelProto()
    changed.CopyFrom(proto)
    types = _types(changed)
    for i, node in enumerate(_nodes(changed.graph)):
        schema = None if _is_known(node, opsets, supported) else _schema(node, opsets)
        if schema is not None:
            changed.functions.append(_function(node, schema, opsets, types, f"{node.op_type}_{i}"))
            node.op_type, node.domain = changed.functions[-1].name, _DOMAIN
    changed.opset_import.append(onnx.helper.make_opsetid(_DOMAIN, 1))
    return changed


def _is_known(node: onnx.NodeProto, opsets: dict[str, int], supported: Supported) -> bool:
    domain = plain_domain(node.domain)
    return node.op_type == "Constant" or supported(domain, node.op_type, opsets.get(domain, 1))


def _schema(node: onnx.NodeProto, opsets: dict[str, int]) -> Any:  # onnx's stubs lack much of it
    """The schema of an operator that ONNX defines by a function."""
    domain = plain_domain(node.domain)
    try:
        schema: Any = onnx.defs.get_schema(node.op_type, opsets.get(domain, 1), domain)
    except (onnx.defs.SchemaError, TypeError):  # a broken file's name may not even be text
        return None
    return schema if schema.has_function or schema.has_context_dependent_function else None


def _function(
    node: onnx.NodeProto,
    schema: Any,
    opsets: dict[str, int],
    types: dict[str, onnx.TypeProto],
    name: str,
) -> onnx.FunctionProto:
    """The function of one node, its attributes' defaults written into the node."""
    given = {attribute.name for attribute in node.attribute}
    for attribute in schema.attributes.values():
        if attribute.name not in given and attribute.default_value.type:
            node.attribute.append(attribute.default_value)
    opset = opsets.get("", 1)
    # Bodies are of certain opsets; a later one that the model's has not changed is as good.
    versions = (
        schema.function_opset_versions
        if schema.has_function
        else schema.context_dependent_function_opset_versions
    )
    version = max((v for v in versions if v <= opset), default=min(versions))
    if schema.has_function:
        body = schema.get_function_with_opset_version(version)
    else:
        inputs = [types.get(n, onnx.TypeProto()).SerializeToString() for n in node.input]
        body = schema.get_context_dependent_function_with_opset_version(
            version, node.SerializeToString(), inputs
        )
    function = onnx.FunctionProto.FromString(body)
    function.name, function.domain = name, _DOMAIN
    # The inliner wants the model's own opsets; where meanings differ our registry refuses by name.
    for entry in function.opset_import:
        if plain_domain(entry.domain) == "":
            entry.version = opset
    return function


def _types(proto: onnx.ModelProto) -> dict[str, onnx.TypeProto]:
    """The type of every value that can be inferred."""
    inferred = onnx.shape_inference.infer_shapes(proto)
    found: dict[str, onnx.TypeProto] = {}
    for graph in _graphs(inferred.graph):
        for info in (*graph.input, *graph.value_info, *graph.output):
            found[info.name] = info.type
        for tensor in graph.initializer:
            found[tensor.name] = onnx.helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
    return found


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _graphs(attribute.g)


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for inner in _graphs(graph):
        yield from inner.node

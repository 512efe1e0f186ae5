"""A converted model in a directory: its graph as JSON, its arrays as safetensors.

Reading it needs no onnx, so that where a model runs nothing but JAX is installed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from onnx2jax.errors import InvalidModelError, OnnxError
from onnx2jax.graph import Graph, Node, TensorSpec

if TYPE_CHECKING:
    from onnx2jax.model import Model

FORMAT = 1
GRAPH, WEIGHTS, CONSTANTS = "graph.json", "weights.safetensors", "constants.safetensors"
Arrays = dict[str, np.ndarray]


def save(model: Model, directory: str | Path, params: Mapping[str, Any] | None = None) -> Path:
    """Write a model so that `onnx2jax.load(directory)` reads it without onnx.

    Args:
        model: what `load` gave.
        directory: made where it does not exist; files in it of the same names are replaced.
        params: weights in place of the model's own, after training say.

    Returns:
        The directory.

    Raises:
        OnnxError: it cannot be written.

    Example:
        >>> onnx2jax.save(m, "face")            # doctest: +SKIP
        >>> m = onnx2jax.load("face")           # doctest: +SKIP
    """
    directory = Path(directory)
    weights: Arrays = {}
    constants: Arrays = {}
    graph = _graph_to_json(model.graph, constants)
    given = params or model.params
    graph["weights"] = {n: _store(np.asarray(v), weights, n) for n, v in given.items()}
    text = json.dumps({"format": FORMAT, "graph": graph}, indent=1)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        save_file(weights, directory / WEIGHTS)
        save_file(constants, directory / CONSTANTS)
        (directory / GRAPH).write_text(text, "utf-8")
    except (OSError, SafetensorError) as error:
        raise OnnxError(f"{directory} cannot be written ({error}); give another one") from None
    return directory


def read(directory: Path) -> Graph:
    """The graph that `save` wrote, its weights among its constants.

    Raises:
        InvalidModelError: it is not such a directory, or a file of it is broken.
    """
    try:
        content = json.loads((directory / GRAPH).read_text("utf-8"))
        if content["format"] != FORMAT:
            raise InvalidModelError(
                f"{directory} has format {content['format']}; this version reads {FORMAT}: save "
                "the model again"
            )
        graph = content["graph"]
        weights = load_file(directory / WEIGHTS)
        loaded = _graph_from_json(graph, load_file(directory / CONSTANTS))
        named = {name: _restore(how, weights) for name, how in graph["weights"].items()}
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InvalidModelError):
            raise
        raise InvalidModelError(
            f"{directory} is not a model that onnx2jax.save wrote, or is broken: "
            f"{type(error).__name__}: {error}"
        ) from None
    return replace(loaded, constants={**loaded.constants, **named})


def _graph_to_json(graph: Graph, arrays: Arrays) -> dict[str, Any]:
    return {
        "name": graph.name,
        "nodes": [_node_to_json(node, arrays) for node in graph.nodes],
        "inputs": [_spec_to_json(spec) for spec in graph.inputs],
        "outputs": [_spec_to_json(spec) for spec in graph.outputs],
        "constants": {n: _store(v, arrays) for n, v in graph.constants.items()},
        "initializers": sorted(graph.initializers),
        "opsets": dict(graph.opsets),
    }


def _graph_from_json(content: Mapping[str, Any], arrays: Arrays) -> Graph:
    return Graph(
        name=content["name"],
        nodes=tuple(_node_from_json(node, arrays) for node in content["nodes"]),
        inputs=tuple(map(_spec_from_json, content["inputs"])),
        outputs=tuple(map(_spec_from_json, content["outputs"])),
        constants={n: _restore(how, arrays) for n, how in content["constants"].items()},
        initializers=frozenset(content["initializers"]),
        opsets=content["opsets"],
    )


def _node_to_json(node: Node, arrays: Arrays) -> dict[str, Any]:
    attributes = {name: _attribute_to_json(v, arrays) for name, v in node.attributes.items()}
    names = {"op": node.op, "domain": node.domain, "name": node.name}
    return {**names, "inputs": node.inputs, "outputs": node.outputs, "attributes": attributes}


def _node_from_json(content: Mapping[str, Any], arrays: Arrays) -> Node:
    attributes = {n: _attribute_from_json(v, arrays) for n, v in content["attributes"].items()}
    names = (content["op"], content["domain"], content["name"])
    return Node(*names, tuple(content["inputs"]), tuple(content["outputs"]), attributes)


def _attribute_to_json(value: Any, arrays: Arrays) -> Any:
    """Numbers, strings and lists of them as they are; others say of what kind they are."""
    if isinstance(value, Graph):
        return {"graph": _graph_to_json(value, arrays)}
    if isinstance(value, np.ndarray):
        return {"array": _store(value, arrays)}
    return value if isinstance(value, int | float | str | list) else None  # a type, used by none


def _attribute_from_json(content: Any, arrays: Arrays) -> Any:
    if not isinstance(content, dict):
        return content
    if "graph" in content:
        return _graph_from_json(content["graph"], arrays)
    return _restore(content["array"], arrays)


def _spec_to_json(spec: TensorSpec) -> dict[str, Any]:
    dtype = None if spec.dtype is None else spec.dtype.name
    return {"name": spec.name, "dtype": dtype, "shape": spec.shape, "kind": spec.kind}


def _spec_from_json(content: Mapping[str, Any]) -> TensorSpec:
    dtype = None if content["dtype"] is None else _dtype(content["dtype"])
    shape = None if content["shape"] is None else tuple(content["shape"])
    return TensorSpec(content["name"], dtype, shape, content["kind"])


def _dtype(name: str) -> np.dtype:
    return np.dtype(getattr(ml_dtypes, name, None) or name)


def _store(value: np.ndarray, arrays: Arrays, key: str | None = None) -> dict[str, Any]:
    """Put an array among the others; returns how to find it."""
    if value.dtype.kind in "OU":  # strings
        return {"strings": value.reshape(-1).tolist(), "shape": value.shape}
    key = f"{len(arrays)}" if key is None else key
    how = {"key": key, "dtype": value.dtype.name, "shape": value.shape}
    # Types that safetensors does not know go as their bytes.
    plain = value.dtype.kind in "fiub" and value.dtype.isnative
    arrays[key] = np.ascontiguousarray(value) if plain else _bytes(value)
    return how


def _bytes(value: np.ndarray) -> np.ndarray:
    return np.frombuffer(np.ascontiguousarray(value).tobytes(), np.uint8)


def _restore(how: Mapping[str, Any], arrays: Arrays) -> np.ndarray:
    if "strings" in how:
        return np.array(how["strings"], object).reshape(how["shape"])
    array, dtype = arrays[how["key"]], _dtype(how["dtype"])
    if array.dtype != dtype:
        array = array.view(dtype)
    return array.reshape(how["shape"])

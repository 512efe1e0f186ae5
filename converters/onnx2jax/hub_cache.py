"""Models in a Hugging Face cache, whose files are links.

There `models--owner--name/snapshots/<revision>/face.onnx` is a link to `../../blobs/<hash>`, and so
are its external data, which onnx's own loader refuses, as it refuses every link. Links are followed
here where they lead to a plain file in that very repository's `blobs`, and nowhere else; the
reading itself, with all its checks, is onnx's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data

from onnx2jax.errors import InvalidModelError


def snapshot_of(path: Path) -> Path | None:
    """The `snapshots/<revision>` that a path lies in; None where it is in no such tree."""
    parents = path.absolute().parents
    for revision in parents:
        tree = revision.parent
        if tree.name == "snapshots" and (tree.parent / "blobs").is_dir():
            return revision
    return None


def load(path: Path, snapshot: Path) -> onnx.ModelProto:
    """Read a model of a snapshot, its external data included.

    Raises:
        InvalidModelError: a link that leads out of the repository's `blobs`.
        ValidationError: as onnx's loader does, like what it raises besides.
    """
    proto = onnx.load(str(_followed(path.absolute(), snapshot)), load_external_data=False)
    for tensor in _tensors(proto.graph):
        if uses_external_data(tensor):
            (location,) = (e for e in tensor.external_data if e.key == "location")
            file = Path(os.path.normpath(path.absolute().parent / location.value))
            followed = _followed(file, snapshot)
            if followed != file:  # a link: onnx is given what it leads to
                location.value = followed.name
                load_external_data_for_tensor(tensor, str(followed.parent))
            else:
                load_external_data_for_tensor(tensor, str(path.absolute().parent))
    return proto


def _followed(file: Path, snapshot: Path) -> Path:
    """The file itself, or the blob that it is a link to."""
    if not file.is_symlink():
        return file
    blobs = snapshot.parent.parent / "blobs"
    blob = Path(os.path.normpath(file.parent / file.readlink()))
    if not file.is_relative_to(snapshot) or blob.parent != blobs or blob.is_symlink():
        raise InvalidModelError(
            f"{file} is a link to {file.readlink()}, out of the repository's own {blobs}: it is "
            "not read. The cache is damaged or was tampered with: delete "
            f"{blobs.parent} and download the model again"
        )
    return blob


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)

"""A dlib file → an ONNX model."""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx
from onnx import helper

from dlib2onnx import mmod, resnet
from dlib2onnx.emit import IR_VERSION, OPSET, emit_graph
from dlib2onnx.files import contents
from dlib2onnx.fold import fold_affine
from dlib2onnx.grammar import Network
from dlib2onnx.network import Step, read_loss, read_network


def _nothing(steps: Sequence[Step]) -> dict[str, str]:
    del steps
    return {}


@dataclass(frozen=True)
class _Kind:
    """One network that dlib publishes.

    Attributes:
        name: the graph's.
        network: what its file holds.
        description: of its inputs and outputs.
        licences: the licence of each published file, by sha256.
        metadata: what a user of the output must know.
    """

    name: str
    network: Callable[[], Network]
    description: str
    licences: dict[str, str]
    metadata: Callable[[Sequence[Step]], dict[str, str]] = _nothing


# Which network a file holds is said by its first field alone: the name of its loss.
_KINDS = {
    "loss_metric_2": _Kind(
        "dlib_face_recognition_resnet",
        resnet.face_recognition,
        resnet.DESCRIPTION,
        {resnet.PUBLISHED_SHA256: resnet.PUBLISHED_LICENCE},
    ),
    "loss_mmod_": _Kind(
        "dlib_mmod_human_face_detector",
        mmod.face_detector,
        mmod.DESCRIPTION,
        {mmod.PUBLISHED_SHA256: mmod.PUBLISHED_LICENCE},
        lambda steps: {"mmod": mmod.decoding(steps)},
    ),
}


def convert(source: str | os.PathLike[str] | bytes) -> onnx.ModelProto:
    """Convert dlib's face recognition network, or its CNN face detector, to ONNX.

    Args:
        source: the path of `dlib_face_recognition_resnet_model_v1.dat` or of
            `mmod_human_face_detector.dat`, or the bytes of one of them.

    Returns:
        A model of opset 18, its batch free. Of the recognizer, the input `image` is (batch, 3, 150,
        150), float32, RGB, 0 to 255, and the output `embedding` (batch, 128), float32, not
        normalized. Of the detector, `image` is (batch, 3, height, width), and `detections` (batch,
        1, rows, columns), the scores of a window at each position; what the map means is JSON in
        the metadata `mmod`. The metadata also name the source's sha256, and its licence if it is
        the published file.

    Raises:
        DlibFormatError: if the source is neither network.
        OSError: if the file cannot be read.

    Example:
        >>> proto = convert("dlib_face_recognition_resnet_model_v1.dat")  # doctest: +SKIP
        >>> onnx.save(proto, "dlib.onnx")  # doctest: +SKIP
    """
    data = contents(source)
    kind = _KINDS[read_loss(data, *_KINDS)]
    steps = fold_affine(read_network(data, kind.network()))
    model = helper.make_model(
        emit_graph(steps, kind.name),
        producer_name="dlib2onnx",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
        doc_string=kind.description,
    )
    helper.set_model_props(model, _origin(data, kind) | kind.metadata(steps))
    return model


def _origin(data: bytes, kind: _Kind) -> dict[str, str]:
    digest = hashlib.sha256(data).hexdigest()
    origin = {"source_sha256": digest}
    if digest in kind.licences:
        origin["license"] = kind.licences[digest]
    return origin

"""A dlib file → an ONNX model."""

import hashlib
import os
from pathlib import Path

import onnx
from onnx import helper

from dlib2onnx import resnet
from dlib2onnx.emit import IR_VERSION, OPSET, emit_graph
from dlib2onnx.errors import DlibFormatError
from dlib2onnx.fold import fold_affine
from dlib2onnx.network import read_network

# The published file has 22 MB; saved without `net.clean()` a network drags its gradients along.
MAX_BYTES = 128 * 2**20

_DESCRIPTION = (
    "dlib's face recognition ResNet. image: (batch, 3, 150, 150) float32, RGB, 0 to 255, a face "
    "aligned by dlib.get_face_chip(size=150, padding=0.25); mean and scale are in the graph. "
    "embedding: (batch, 128) float32, not normalized."
)


def convert(source: str | os.PathLike[str] | bytes) -> onnx.ModelProto:
    """Convert dlib's face recognition network to ONNX.

    Args:
        source: the path of `dlib_face_recognition_resnet_model_v1.dat`, or its bytes.

    Returns:
        A model of opset 18. Its input `image` is (batch, 3, 150, 150), float32, RGB, 0 to 255; its
        output `embedding` is (batch, 128), float32, not normalized; the batch is free. The metadata
        name the source's sha256, and its licence if it is the published file.

    Raises:
        DlibFormatError: if the source is not this network.
        OSError: if the file cannot be read.

    Example:
        >>> proto = convert("dlib_face_recognition_resnet_model_v1.dat")  # doctest: +SKIP
        >>> onnx.save(proto, "dlib.onnx")  # doctest: +SKIP
    """
    data = source if isinstance(source, bytes) else _contents(Path(source))
    steps = fold_affine(read_network(data, resnet.face_recognition()))
    model = helper.make_model(
        emit_graph(steps, "dlib_face_recognition_resnet"),
        producer_name="dlib2onnx",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
        doc_string=_DESCRIPTION,
    )
    helper.set_model_props(model, _origin(data))
    return model


def _contents(path: Path) -> bytes:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_BYTES:
            raise DlibFormatError(
                f"{path.name} is larger than any file of this network, {MAX_BYTES} bytes",
                offset=0,
                value=size,
                remedy="Give dlib_face_recognition_resnet_model_v1.dat, or a network saved after "
                "net.clean().",
            )
        return file.read(size)


def _origin(data: bytes) -> dict[str, str]:
    digest = hashlib.sha256(data).hexdigest()
    origin = {"source_sha256": digest}
    if digest == resnet.PUBLISHED_SHA256:
        origin["license"] = resnet.PUBLISHED_LICENCE
    return origin

"""YuNet, OpenCV Zoo's face detector with five landmarks, in JAX."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import onnx

import onnx2jax
from fggb_jax.errors import ModelError
from fggb_jax.faces.canvas import Canvas, draw
from fggb_jax.faces.detection import Detection, check_photograph, overlap, suppress
from fggb_jax.precision import full_precision
from onnx2jax.reader import label, read_proto

STRIDES = (8, 16, 32)
SMALLEST = 320  # side of the least canvas in pixels; each other one is twice the last
SIDE = 640  # of the canvas on which a large photograph is looked at first
WIDTHS = (80, 120, 160)  # of a face whose landmarks are wanted, in pixels
CLOSE_UP = 256  # side of the canvas on which it is drawn
CLOSE_UP_THRESHOLD = 0.3  # a face that is known to be there needs no high score
SAME_FACE = 0.4  # the least overlap (intersection over union) of its boxes at two scales
AGREEING = 0.6  # the least overlap with the best box, at one scale, of one whose landmarks count
_OUTPUTS = tuple(f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in STRIDES)


def decode(
    outputs: Sequence[np.ndarray], side: int, threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The network's outputs → the faces that it sees, before any are suppressed.

    Args:
        outputs: class scores (·, 1), object scores (·, 1), boxes (·, 4) and landmarks (·, 10) of
            one image, each for the strides 8, 16 and 32; one row a cell, row by row.
        side: of the canvas in pixels.
        threshold: the least score, in [0, 1].

    Returns:
        Boxes (K, 4) left, top, right, bottom, scores (K,), landmarks (K, 5, 2), in pixels.
    """
    boxes, scores, points = [], [], []
    for level, stride in enumerate(STRIDES):
        cls, obj, box, keys = outputs[level :: len(STRIDES)]
        score = np.sqrt(np.clip(cls[:, 0], 0, 1) * np.clip(obj[:, 0], 0, 1))
        kept = np.flatnonzero(score >= threshold)
        cell = np.stack([kept % (side // stride), kept // (side // stride)], axis=1)
        centre = (cell + box[kept, :2]) * stride
        half = np.exp(box[kept, 2:]) * stride / 2
        boxes.append(np.concatenate([centre - half, centre + half], axis=1))
        scores.append(score[kept])
        points.append((keys[kept].reshape(-1, 5, 2) + cell[:, None]) * stride)
    return np.concatenate(boxes), np.concatenate(scores), np.concatenate(points)


class YunetDetector:
    """YuNet from OpenCV Zoo's face_detection_yunet_2023mar.onnx (MIT), for canvases of any size.

    1. The photograph, where its longer side is above 640 pixels, is made as small as that, and is
       looked at half as large besides, for a face that fills it. Where nothing is found it is
       looked at twice as large, up to `upsample` times.
    2. YuNet's landmarks wander by up to a tenth of the eyes' distance with the image's scale, and
       from one cell that sees the face to the next. So each face is drawn anew, from the
       photograph itself, at each of `widths`; there the mean over the cells that agree counts,
       weighted by the square of their scores; and of the widths the median. The landmarks of a
       portrait made smaller step by step then wander a third as far as OpenCV's, or less.

    Boxes and scores are those of step 1, which on one canvas are those of OpenCV's
    FaceDetectorYN.

    Args:
        model: path of the ONNX file, or a ModelProto.
        threshold: the least score of a face, in [0, 1]; 0.9 is OpenCV's, which misses more.
        overlap: of two boxes that overlap more (intersection over union), the better one counts.
        upsample: how often the photograph is doubled where nothing is found.
        widths: of the face in pixels, for step 2; none at all skips it.

    Attributes:
        name: "yunet".
        schemes: ("arcface-5",).

    Raises:
        ModelError: the file cannot be read, or it is not YuNet.

    Example:
        >>> detector = YunetDetector("face_detection_yunet_2023mar.onnx")    # doctest: +SKIP
        >>> best = detector.detect(read_image("ann.jpg"))[0]                 # doctest: +SKIP
        >>> best.landmarks["arcface-5"].shape                                # doctest: +SKIP
        (5, 2)
    """

    name = "yunet"
    schemes = ("arcface-5",)

    def __init__(
        self,
        model: str | Path | onnx.ModelProto,
        *,
        threshold: float = 0.6,
        overlap: float = 0.3,
        upsample: int = 1,
        widths: Sequence[float] = WIDTHS,
    ) -> None:
        network = _load(model)
        self.threshold = threshold
        self.overlap = overlap
        self.upsample = upsample
        self.widths = tuple(widths)
        self._params = network.params
        self._run = jax.jit(lambda params, pixels: network(params, _prepare(pixels)))

    def detect(self, image: np.ndarray) -> list[Detection]:
        """Find the faces of (H, W, 3) uint8 RGB, the best first.

        Raises:
            ImageError: the image is no photograph.
        """
        check_photograph(image)
        longest = max(image.shape[:2])
        first = min(1.0, SIDE / longest)
        # A face that fills a large canvas is found, but badly: there the smaller canvas is better.
        first_scales = [first] if first * longest <= SMALLEST else [first, first / 2]
        for scales in (first_scales, *([first * 2**k] for k in range(1, self.upsample + 1))):
            if found := self._look(image, scales):
                return [self._refined(image, face) for face in found]
        return []

    def _look(self, image: np.ndarray, scales: Sequence[float]) -> list[Detection]:
        """The faces of a photograph at any of the scales."""
        longest = max(image.shape[:2])
        looks = [
            self._faces([draw(image, _side(longest * scale), scale)], self.threshold)[0]
            for scale in scales
        ]
        boxes, scores, points = (np.concatenate(x) for x in zip(*looks, strict=True))
        faces = []
        for k in suppress(boxes, scores, self.overlap):
            landmarks = {"arcface-5": points[k].astype(np.float32)}
            faces.append(Detection(tuple(boxes[k].tolist()), float(scores[k]), landmarks))
        return faces

    def _refined(self, image: np.ndarray, face: Detection) -> Detection:
        """A face with better landmarks, if it is found at any of the widths."""
        box = np.array(face.box)
        middle, width = (box[:2] + box[2:]) / 2, box[2] - box[0]
        canvases = []
        for wanted in self.widths:
            reach = CLOSE_UP * width / wanted / 2
            part = (*(middle - reach), *(middle + reach))
            canvases.append(draw(image, CLOSE_UP, wanted / width, part))
        found = []
        for boxes, scores, points in self._faces(canvases, CLOSE_UP_THRESHOLD):
            same = np.where(overlap(box, boxes) >= SAME_FACE, scores, 0)
            if same.any():
                agreeing = overlap(boxes[np.argmax(same)], boxes) >= AGREEING
                found.append(np.average(points, axis=0, weights=agreeing * scores**2))
        if not found:
            return face
        median = np.median(found, axis=0).astype(np.float32)
        return dataclasses.replace(face, landmarks={"arcface-5": median})

    def _faces(
        self, canvases: Sequence[Canvas], threshold: float
    ) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Boxes, scores and landmarks of each canvas, in pixels of the photograph."""
        if not canvases:
            return []
        pixels = np.stack([canvas.pixels for canvas in canvases])
        with full_precision():
            outputs = self._run(self._params, pixels)
        outputs = [np.asarray(x) for x in outputs]
        faces = []
        for i, canvas in enumerate(canvases):
            boxes, scores, points = decode([x[i] for x in outputs], len(canvas.pixels), threshold)
            faces.append((canvas.boxes_to_photo(boxes), scores, canvas.to_photo(points)))
        return faces


def _side(length: float) -> int:
    """Of the least canvas that holds `length` pixels; there are few, as each is a program."""
    side = SMALLEST
    while side < np.floor(length):
        side *= 2
    return side


def _prepare(pixels: jax.Array) -> jax.Array:
    """(B, side, side, 3) uint8 RGB → the network's input (B, 3, side, side): BGR in [0, 255]."""
    return pixels[..., ::-1].transpose(0, 3, 1, 2).astype(jnp.float32)


def _load(model: str | Path | onnx.ModelProto) -> onnx2jax.Model:
    """The network, its declared sizes left open: nothing in it depends on them."""
    where = label(model)
    try:
        proto = onnx.ModelProto()
        proto.CopyFrom(read_proto(model))
        names = tuple(value.name for value in proto.graph.output)
        if names != _OUTPUTS or len(proto.graph.input) != 1:
            raise ModelError(
                f"{where} is no YuNet detector: its outputs are {', '.join(names)}; wanted are "
                f"{', '.join(_OUTPUTS)}"
            )
        for value in (*proto.graph.input, *proto.graph.output):
            _leave_open(value)
        return onnx2jax.load(proto)
    except onnx2jax.OnnxError as error:
        raise ModelError(f"{where}: {error}") from None


def _leave_open(value: onnx.ValueInfoProto) -> None:
    """Give names to the sizes that change with the image's: those between first and channels."""
    axes = (1,) if value.name in _OUTPUTS else (2, 3)
    for axis, dim in enumerate(value.type.tensor_type.shape.dim):
        if axis in axes:
            dim.dim_param = f"{value.name}_{axis}"

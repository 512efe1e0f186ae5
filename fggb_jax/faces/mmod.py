"""dlib's CNN face detector: a sliding window over an image pyramid, tiled into one image.

The pyramid (see `pyramid`), the positions and the suppression are dlib's, so that its detections
come out; the network runs in JAX.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import onnx
from onnx import helper

import dlib2onnx
import onnx2jax
from fggb_jax.errors import ModelError, OptionError
from fggb_jax.faces.detection import check_photograph
from fggb_jax.faces.pyramid import Tiles, doubled, tile, tiled
from fggb_jax.models.load import dlib_weights
from fggb_jax.precision import full_precision
from onnx2jax.reader import label, read_proto

_FILE = "mmod_human_face_detector.dat"
_MIN_SIDE = 10  # of an image: dlib's tiling makes no sense below
_BAND = 192  # rows of the map at a time, so that a large photograph takes no more memory


class FaceBox(NamedTuple):
    """A face.

    Attributes:
        box: (left, top, right, bottom) in pixels, whole numbers, the last row and column included,
            as in dlib's rectangles; a face at the image's edge may reach beyond it.
        score: greater than 0; the larger, the surer.
    """

    box: tuple[float, float, float, float]
    score: float


class MmodDetector:
    """Finds faces of 80 pixels and more; of 40 with `upsample=1`.

    Args:
        source: the path of `mmod_human_face_detector.dat` or of the .onnx made of it, or the
            ModelProto itself; None for the file of the package face_recognition_models.
        target: the backend to lower for, as in `onnx2jax.load`.

    Raises:
        ModelError: no such file, or it is not this detector.

    Example:
        >>> detector = MmodDetector()                      # doctest: +SKIP
        >>> [(box, score)] = detector.detect(photograph)   # doctest: +SKIP
    """

    def __init__(
        self, source: str | Path | onnx.ModelProto | None = None, *, target: str | None = None
    ) -> None:
        where = label(source or _FILE)
        try:
            proto = _proto(source)
            self._options = Options.from_metadata(proto)
            masked, self._halo = _masked(proto)
            self._network = onnx2jax.load(masked, target=target)
        except (dlib2onnx.DlibFormatError, onnx2jax.OnnxError) as error:
            raise ModelError(f"{where}: {error}") from None

    def detect(self, image: np.ndarray, *, upsample: int = 0) -> list[FaceBox]:
        """Find the faces of one photograph.

        Args:
            image: (H, W, 3) uint8, RGB, upright.
            upsample: how many times to double the image first, for smaller faces; each time takes
                four times as long.

        Returns:
            (box, score) of each face in the pixels of `image`, the highest score first.

        Raises:
            ImageError: not such an image.
            OptionError: `upsample` is negative.
        """
        check_photograph(image)
        if upsample < 0:
            raise OptionError(f"upsample={upsample}; give 0 or how many times to double the image")
        for _ in range(upsample):
            image = doubled(image)
        if min(image.shape[:2]) < _MIN_SIDE:
            return []
        options = self._options
        tiles = tile(
            *image.shape[:2],
            rate=options.rate,
            padding=options.padding,
            outer_padding=options.outer_padding,
        )
        scores = self._scores(tiled(image, tiles, options.fill))
        rows, columns = np.nonzero(scores > options.threshold)
        confidences = scores[rows, columns]
        order = np.argsort(-confidences, kind="stable")
        boxes = _boxes(rows[order], columns[order], tiles, options)
        kept = suppressed(boxes, options.iou, options.covered)
        boxes = boxes[kept]
        for _ in range(upsample):
            # dlib maps back through its 5×5 filter, whose half-sized image lies a little inside.
            boxes = boxes / 2 - np.array([1.25, 0.75, 1.25, 0.75])
        boxes = _whole(boxes).tolist()
        return [
            FaceBox(tuple(box), score)
            for box, score in zip(boxes, confidences[order][kept].tolist(), strict=True)
        ]

    @cached_property
    def _run(self) -> Any:
        return jax.jit(self._network)

    def _scores(self, image: np.ndarray) -> np.ndarray:
        """The map of an image (3, H, W): (rows, columns), each position's score."""
        rows, columns = (self._options.positions(size) for size in image.shape[1:])
        if rows < 1 or columns < 1:
            return np.zeros((0, 0), np.float32)
        if rows <= _BAND + 2 * self._halo:
            return self._band(image, bucketed(image.shape[1]))
        size = self._options.pixels(_BAND + 2 * self._halo)
        scores = np.empty((rows, columns), np.float32)
        for start in range(0, rows, _BAND):
            # Rows beyond the band that a convolution on its way sees are computed, and left out.
            first, last = max(start - self._halo, 0), min(start + _BAND + self._halo, rows)
            top = first * self._options.stride
            band = self._band(image[:, top : top + self._options.pixels(last - first)], size)
            scores[start : start + _BAND] = band[start - first :][:_BAND]
        return scores

    def _band(self, image: np.ndarray, height: int) -> np.ndarray:
        """The map of an image of at most `height` rows, padded so that few programs are compiled.

        What convolutions make of the padding must not leak into the image, where dlib has zeros:
        `valid` keeps it out.
        """
        bucket = (height, bucketed(image.shape[2]))
        rows, columns = (self._options.positions(size) for size in image.shape[1:])
        padded = np.zeros((1, 3, *bucket), np.float32)
        padded[0, :, : image.shape[1], : image.shape[2]] = image
        valid = np.zeros((1, 1, *(self._options.positions(n) for n in bucket)), np.float32)
        valid[..., :rows, :columns] = 1
        with full_precision():  # scores near the threshold decide
            scores = self._run(self._network.params, padded, valid)
        return np.asarray(scores)[0, 0, :rows, :columns]


def _proto(source: str | Path | onnx.ModelProto | None) -> onnx.ModelProto:
    if isinstance(source, onnx.ModelProto):
        return source
    path = Path(source) if source is not None else dlib_weights().with_name(_FILE)
    if not path.is_file():
        raise ModelError(f"no such file: {path}; give the path of {_FILE}")
    return dlib2onnx.convert(path) if path.suffix == ".dat" else read_proto(path)


@dataclass(frozen=True)
class Options:
    """What the detector's map means; see `dlib2onnx.mmod.decoding`.

    Attributes:
        window: width and height of the sliding window in pixels.
        stride: pixels between the map's positions.
        offset: the pixel at the centre of the first window.
        threshold: the score above which there is a face.
        iou: see `suppressed`.
        covered: see `suppressed`.
        rate: each level of the pyramid is (rate − 1) / rate the size of the one before.
        padding: pixels between the levels.
        outer_padding: pixels around them.
        fill: the colour of both.
    """

    window: tuple[int, int]
    stride: int
    offset: int
    threshold: float
    iou: float
    covered: float
    rate: int
    padding: int
    outer_padding: int
    fill: tuple[float, ...]

    @classmethod
    def from_metadata(cls, proto: onnx.ModelProto) -> Options:
        """Read the model's metadata.

        Raises:
            ModelError: they do not say what is needed, or something that is not decoded yet.
        """
        text = {prop.key: prop.value for prop in proto.metadata_props}.get("mmod")
        if text is None:
            raise ModelError(
                "the model's metadata have no 'mmod', which says what its map means: it is no MMOD "
                f"detector, or not one that dlib2onnx made of {_FILE}"
            )
        try:
            said = json.loads(text)
            (window,) = said["windows"]
            pyramid, overlaps = said["pyramid"], said["overlaps_nms"]
            options = cls(
                (int(window["width"]), int(window["height"])),
                int(said["stride"]),
                int(said["offset"]),
                float(said["threshold"]),
                float(overlaps["iou"]),
                float(overlaps["covered"]),
                int(pyramid["rate"]),
                int(pyramid["padding"]),
                int(pyramid["outer_padding"]),
                tuple(map(float, pyramid["fill"])),
            )
            regression = said["bounding_box_regression"]
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"the model's metadata 'mmod' cannot be used ({error!r}); convert {_FILE} anew"
            ) from None
        least = min(*options.window, options.stride)
        if regression or least < 1 or options.rate < 2 or len(options.fill) != 3:
            raise ModelError(
                "the model's metadata 'mmod' ask for what is not decoded: bounding-box regression, "
                "sizes that are not positive, or a fill that is no RGB colour"
            )
        return options

    def positions(self, size: int) -> int:
        """How many positions of the map a side of so many pixels has."""
        return (size - self.pixels(1)) // self.stride + 1

    def pixels(self, positions: int) -> int:
        """How many pixels the unpadded convolutions see for so many positions."""
        return (positions - 1) * self.stride + 2 * self.offset + 1


def _masked(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    """Let each padded convolution see zeros where the new input `valid` has them.

    Returns:
        The model, and how many positions away what it computes for one depends on.
    """
    masked = onnx.ModelProto()
    masked.CopyFrom(proto)
    nodes, halo = [], 0
    for node in masked.graph.node:
        pads = next((a.ints for a in node.attribute if a.name == "pads"), [])
        if node.op_type == "Conv" and any(pads):
            halo += max(pads)
            name = f"{node.name}.masked"
            nodes.append(helper.make_node("Mul", [node.input[0], "valid"], [name], name=name))
            node.input[0] = name
        nodes.append(node)
    del masked.graph.node[:]
    masked.graph.node.extend(nodes)
    shape = ["batch", 1, "rows", "columns"]
    masked.graph.input.append(helper.make_tensor_value_info("valid", onnx.TensorProto.FLOAT, shape))
    return masked, halo


def bucketed(size: int) -> int:
    """The next of 8 sizes an octave: at most an eighth too large, and few programs to compile."""
    step = max(16, 1 << max(size.bit_length() - 4, 0))
    return -(-size // step) * step


def _boxes(rows: np.ndarray, columns: np.ndarray, tiles: Tiles, options: Options) -> np.ndarray:
    """Positions of the map → (n, 4) left, top, right, bottom in the image, whole numbers."""
    centres = np.stack([columns, rows], axis=1) * options.stride + options.offset
    level = _nearest(centres, tiles.boxes)
    reach = (np.array(options.window) - 1) / 2
    corners = np.concatenate([centres - reach, centres + reach], axis=1)
    corners -= np.tile(tiles.boxes[level, :2], 2)
    for depth in range(len(tiles.boxes) - 1):
        up = corners * (options.rate / (options.rate - 1)) + 0.3
        corners = np.where((level > depth)[:, None], up, corners)
    return _whole(corners)


def _whole(numbers: np.ndarray) -> np.ndarray:
    """Round as dlib does: a half goes away from zero."""
    return np.sign(numbers) * np.floor(np.abs(numbers) + 0.5) + 0.0  # no −0


def _nearest(points: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """The box (left, top, width, height) nearest to each point, the first of equals: (n,)."""
    low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:] - 1
    away = points[:, None] - np.clip(points[:, None], low, high)
    return np.argmin(np.sum(away * away, axis=2), axis=1)


def suppressed(boxes: np.ndarray, iou: float, covered: float) -> list[int]:
    """Which boxes stay when each one removes the weaker ones that overlap it too much.

    Args:
        boxes: (n, 4) left, top, right, bottom, inclusive; the strongest first.
        iou: of the intersection, the share of the smallest rectangle around both (dlib's notion)
            above which they are one face.
        covered: the share of either box above which they are one face.
    """
    area = np.prod(boxes[:, 2:] - boxes[:, :2] + 1, axis=1)
    alive, kept = np.ones(len(boxes), bool), []
    for i in range(len(boxes)):
        if not alive[i]:
            continue
        kept.append(i)
        box = boxes[i]
        low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
        inner = np.prod(np.maximum(high - low + 1, 0), axis=1)
        low, high = np.minimum(boxes[:, :2], box[:2]), np.maximum(boxes[:, 2:], box[2:])
        outer = np.prod(high - low + 1, axis=1)
        same = (inner > iou * outer) | (inner > covered * area) | (inner > covered * area[i])
        alive &= ~same
    return kept

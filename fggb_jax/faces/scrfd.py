"""SCRFD, insightface's face detector, in JAX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import onnx

import onnx2jax
from fggb_jax.errors import ModelError
from fggb_jax.faces.canvas import draw
from fggb_jax.faces.detection import Detection, check_photograph, suppress
from fggb_jax.precision import full_precision
from onnx2jax.reader import label

STRIDES = (8, 16, 32)
ANCHORS = 2  # a cell, both at the same point
SIDE = 640  # of the canvas, where the file leaves it open: insightface's choice
_WIDTHS = {6: (1, 4), 9: (1, 4, 10)}  # outputs → values a row: scores, boxes, landmarks


def decode(
    outputs: Sequence[np.ndarray], side: int, threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """The network's outputs → the faces that it sees, before any are suppressed.

    Boxes and landmarks are distances from the cell's left top corner, in strides.

    Args:
        outputs: scores (·, 1), boxes (·, 4) and, where the network has them, landmarks (·, 10),
            each for the strides 8, 16 and 32; one row an anchor, cells row by row.
        side: of the canvas in pixels.
        threshold: the least score, in [0, 1].

    Returns:
        Boxes (K, 4) left, top, right, bottom, scores (K,), landmarks (K, 5, 2) or None; in pixels.
    """
    boxes, scores, points = [], [], []
    for level, stride in enumerate(STRIDES):
        score, distance, *keys = (np.asarray(x) for x in outputs[level :: len(STRIDES)])
        score = score.reshape(-1)
        kept = np.flatnonzero(score >= threshold)
        cell = kept // ANCHORS
        corner = np.stack([cell % (side // stride), cell // (side // stride)], axis=1) * stride
        left_top, right_bottom = np.split(distance.reshape(-1, 4)[kept] * stride, 2, axis=1)
        boxes.append(np.concatenate([corner - left_top, corner + right_bottom], axis=1))
        scores.append(score[kept])
        points += [corner[:, None] + k.reshape(-1, 5, 2)[kept] * stride for k in keys]
    found = np.concatenate(points) if points else None
    return np.concatenate(boxes), np.concatenate(scores), found


class ScrfdDetector:
    """SCRFD from one of insightface's ONNX files, such as det_10g.onnx or det_500m.onnx.

    The photograph is fitted into a square canvas, at its left top, as insightface does; but it is
    made smaller without aliasing, and pixel centres are kept in place. Where nothing is found, the
    canvas is made half as large, for a face that fills the photograph, and then twice as large,
    up to `upsample` times, for a small one; a file of fixed size has one canvas.

    Args:
        model: path of the ONNX file, or a ModelProto.
        threshold: the least score of a face, in [0, 1].
        overlap: of two boxes that overlap more (intersection over union), the better one counts.
        upsample: how often the canvas is doubled where nothing is found.

    Attributes:
        name: "scrfd".
        schemes: ("arcface-5",), or () for a file without landmarks.
        side: of the first canvas in pixels.

    Raises:
        ModelError: the file cannot be read, or its outputs are not SCRFD's.
    """

    name = "scrfd"

    def __init__(
        self,
        model: str | Path | onnx.ModelProto,
        *,
        threshold: float = 0.5,
        overlap: float = 0.4,
        upsample: int = 1,
    ) -> None:
        where = label(model)
        try:
            network = onnx2jax.load(model)
        except onnx2jax.OnnxError as error:
            raise ModelError(f"{where}: {error}") from None
        shape = network.inputs[0].shape if len(network.inputs) == 1 else None
        fixed = None if shape is None or len(shape) != 4 else shape[2]
        self.side = fixed if isinstance(fixed, int) and fixed > 0 else SIDE
        self.threshold = threshold
        self.overlap = overlap
        self._sides = [self.side]
        if self.side != fixed:
            self._sides += [self.side // 2, *(self.side << k for k in range(1, upsample + 1))]
        self.schemes = ("arcface-5",) if _check(network, where, self.side) else ()
        self._params = network.params
        self._run = jax.jit(lambda params, pixels: network(params, _prepare(pixels)))

    def detect(self, image: np.ndarray) -> list[Detection]:
        """Find the faces of (H, W, 3) uint8 RGB, the best first.

        Raises:
            ImageError: the image is no photograph.
        """
        check_photograph(image)
        for side in self._sides:
            if found := self._look(image, side):
                return found
        return []

    def _look(self, image: np.ndarray, side: int) -> list[Detection]:
        canvas = draw(image, side, side / max(image.shape[:2]))
        with full_precision():
            outputs = self._run(self._params, canvas.pixels)
        boxes, scores, points = decode(outputs, side, self.threshold)
        faces = []
        for k in suppress(boxes, scores, self.overlap):
            box = tuple(canvas.boxes_to_photo(boxes[k]).tolist())
            landmarks = {}
            if points is not None:
                landmarks["arcface-5"] = canvas.to_photo(points[k]).astype(np.float32)
            faces.append(Detection(box, float(scores[k]), landmarks))
        return faces


def _prepare(pixels: jax.Array) -> jax.Array:
    """(side, side, 3) uint8 RGB → the network's input (1, 3, side, side)."""
    return ((pixels.astype(jnp.float32) - 127.5) / 128).transpose(2, 0, 1)[None]


def _check(network: onnx2jax.Model, where: str, side: int) -> bool:
    """Whether the network gives landmarks; refuses what is not SCRFD."""
    image = jax.ShapeDtypeStruct((1, 3, side, side), jnp.float32)
    try:
        found = jax.eval_shape(network, network.params, image)
    except onnx2jax.OnnxError as error:
        raise ModelError(f"{where} does not take an image of {side}×{side}: {error}") from None
    shapes = [x.shape for x in (found if isinstance(found, tuple) else (found,))]
    rows = [ANCHORS * (side // stride) ** 2 for stride in STRIDES]
    wanted = [(n, width) for width in _WIDTHS.get(len(shapes), ()) for n in rows]
    # Some exports have a batch axis.
    if not wanted or [s[1:] if s[:1] == (1,) and len(s) == 3 else s for s in shapes] != wanted:
        raise ModelError(
            f"{where} is no SCRFD detector: its outputs are {', '.join(map(str, shapes))}; wanted "
            f"are scores, boxes and, perhaps, landmarks for the strides 8, 16 and 32 with "
            f"{ANCHORS} anchors: at {side}×{side} pixels "
            f"{', '.join(str((n, width)) for width in _WIDTHS[9] for n in rows)}"
        )
    return len(shapes) == 9

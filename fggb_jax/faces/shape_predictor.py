"""dlib's landmarks (Kazemi and Sullivan, CVPR 2014): every face box at once, in NumPy.

A shape lives in its box's coordinates, (0, 0) its first pixel's centre and (1, 1) its last's. At
each level of the cascade the forest looks at pixels that move with the shape, and corrects it.
"""

from __future__ import annotations

import numpy as np

from dlib2onnx import Level, ShapePredictor
from fggb_jax.errors import ImageError

_TOGETHER = 32  # boxes: a level's leaves of 68 points are 270 kB a box


def predict(predictor: ShapePredictor, image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Find the landmarks of faces.

    Args:
        predictor: from `dlib2onnx.read_shape_predictor`.
        image: (H, W) uint8 grey or (H, W, 3) uint8 RGB.
        boxes: (B, 4) left, top, right, bottom in pixels, the last row and column included, as from
            dlib's detectors; they may reach beyond the image.

    Returns:
        (B, P, 2) float64, x and y in pixels; dlib's points are these, rounded.

    Raises:
        ImageError: not such an image, or not such boxes.

    Example:
        >>> predict(predictor, photograph, [box]).shape  # doctest: +SKIP
        (1, 5, 2)
    """
    grey = _grey(image)
    boxes = np.asarray(boxes, np.float64)
    if not boxes.size:
        boxes = boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.isfinite(boxes).all():
        raise ImageError(
            f"boxes of shape {boxes.shape} were given; give (B, 4) finite numbers: left, top, "
            "right, bottom"
        )
    count = len(predictor.initial_shape)
    points = np.zeros((len(boxes), count, 2))
    for i in range(0, len(boxes), _TOGETHER):
        some = boxes[i : i + _TOGETHER]
        shape = np.repeat(predictor.initial_shape[None], len(some), axis=0)
        for level in predictor.levels:
            pixels = _pixels(grey, some, shape, predictor.initial_shape, level)
            shape = _corrected(shape, level, pixels)
        points[i : i + _TOGETHER] = _in_image(shape, some)
    return points


def _grey(image: np.ndarray) -> np.ndarray:
    """(H, W) uint8; dlib's grey is the mean of the colours, rounded down."""
    if image.dtype == np.uint8 and image.size:
        if image.ndim == 2:
            return image
        if image.ndim == 3 and image.shape[2] == 3:
            return (image.sum(axis=2, dtype=np.uint16) // 3).astype(np.uint8)
    raise ImageError(
        f"an image of shape {image.shape} and dtype {image.dtype} was given; give (H, W) or "
        "(H, W, 3) uint8"
    )


def _in_image(points: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Points (B, N, 2) of the boxes' coordinates → pixels, float64."""
    corner, last = boxes[:, None, :2], boxes[:, None, 2:]
    return corner + points * (last - corner)


def _pixels(
    grey: np.ndarray, boxes: np.ndarray, shape: np.ndarray, initial: np.ndarray, level: Level
) -> np.ndarray:
    """Look up the level's pixels → (B, F) int16; 0 beyond the image."""
    turned = level.delta @ _turn(initial, shape).transpose(0, 2, 1)
    places = _in_image(turned + shape[:, level.anchor], boxes)
    height, width = grey.shape
    nearest = np.clip(np.floor(places + 0.5), -1, (width, height))
    x, y = np.moveaxis(nearest.astype(np.intp), -1, 0)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    values = grey[np.where(inside, y, 0), np.where(inside, x, 0)]
    return np.where(inside, values, 0).astype(np.int16)


def _turn(initial: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """The rotation and scale that best take the initial shape to each shape: (B, 2, 2) float32."""
    start = initial.astype(np.float64) - initial.mean(axis=0, dtype=np.float64)
    # Centring one of the two is enough.
    x, y = start[:, 0], start[:, 1]
    u, v = shape[..., 0].astype(np.float64), shape[..., 1].astype(np.float64)
    spread = np.sum(start * start)
    cosine, sine = (u @ x + v @ y) / spread, (v @ x - u @ y) / spread
    turn = np.stack([cosine, -sine, sine, cosine], axis=-1).reshape(-1, 2, 2)
    return turn.astype(np.float32)


def _corrected(shape: np.ndarray, level: Level, pixels: np.ndarray) -> np.ndarray:
    """The shapes (B, P, 2), each tree's leaf added, tree by tree as dlib does (float32 rounds)."""
    trees, splits = level.first.shape
    tree, box = np.arange(trees)[:, None], np.arange(len(shape))
    node = np.zeros((trees, len(shape)), np.intp)
    for _ in range(splits.bit_length()):
        first, second = level.first[tree, node], level.second[tree, node]
        left = pixels[box, first] - pixels[box, second] > level.threshold[tree, node]
        node = 2 * node + np.where(left, 1, 2)
    added = np.concatenate([shape[None], level.leaves[tree, node - splits]])
    return np.add.reduce(added, axis=0)

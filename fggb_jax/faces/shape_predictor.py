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
    _check(image)
    image = np.ascontiguousarray(image)  # a view would be copied at each level
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
            pixels = _pixels(image, some, shape, predictor.initial_shape, level)
            shape = _corrected(shape, level, pixels)
        points[i : i + _TOGETHER] = _in_image(shape, some)
    return points


def _check(image: np.ndarray) -> None:
    colours = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
    if image.dtype != np.uint8 or not image.size or not colours:
        raise ImageError(
            f"an image of shape {image.shape} and dtype {image.dtype} was given; give (H, W) or "
            "(H, W, 3) uint8"
        )


def _in_image(points: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Points (B, N, 2) of the boxes' coordinates → pixels, float64."""
    corner, last = boxes[:, None, :2], boxes[:, None, 2:]
    return corner + points * (last - corner)


def _pixels(
    image: np.ndarray, boxes: np.ndarray, shape: np.ndarray, initial: np.ndarray, level: Level
) -> np.ndarray:
    """Look up the level's pixels, grey → (B, F) int16; 0 beyond the image."""
    turned = level.delta @ _turn(initial, shape).transpose(0, 2, 1)
    places = _in_image(turned + shape.take(level.anchor, axis=1), boxes)
    height, width = image.shape[:2]
    x, y = np.moveaxis(np.floor(places + 0.5), -1, 0)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    place = np.where(inside, y * width + x, 0).astype(np.intp)
    # dlib's grey is the mean of the colours, rounded down.
    colours = image.reshape(height * width, -1).take(place, axis=0)
    grey = colours.sum(axis=-1, dtype=np.int16) // colours.shape[-1]
    return np.where(inside, grey, np.int16(0))


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
    # Every split is asked, also those that no face comes to: that is quicker than to choose.
    difference = pixels.take(level.first, axis=1) - pixels.take(level.second, axis=1)
    right = difference <= level.threshold
    root = splits * np.arange(right[..., 0].size).reshape(-1, trees)
    node = np.zeros_like(root)
    for _ in range(splits.bit_length()):
        node = 2 * node + 1 + right.take(root + node)
    leaf = (splits + 1) * np.arange(trees) + node - splits
    leaves = level.leaves.reshape(-1, *shape.shape[1:]).take(leaf, axis=0)
    return np.add.reduce(np.concatenate([shape[:, None], leaves], axis=1), axis=1)

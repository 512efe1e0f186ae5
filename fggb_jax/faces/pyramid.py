"""dlib's image pyramid, tiled into one image for a network to slide over."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_MIN_LEVEL = 5  # rows: dlib's pyramid ends above


class Tiles(NamedTuple):
    """Where the levels of a pyramid lie in the tiled image.

    Attributes:
        boxes: (levels, 4) left, top, width, height of each, the image itself first.
        height: of the tiled image.
        width: of the tiled image.
    """

    boxes: np.ndarray
    height: int
    width: int


def tile(height: int, width: int, *, rate: int, padding: int, outer_padding: int) -> Tiles:
    """Lay out the pyramid of an image: down on the left, then up on the right.

    Args:
        height: of the image.
        width: of the image.
        rate: each level is (rate − 1) / rate the size of the one before.
        padding: pixels between the levels.
        outer_padding: pixels around them.
    """
    gap, margin = padding, outer_padding
    sizes = _level_sizes(height, width, (rate - 1) / rate)
    total = sum(h + gap for h, _ in sizes) - 2 * gap
    column, previous = 0, 0
    for h, w in sizes:
        # Where the room is negative dlib, unsigned, takes it for huge: that only matters to images
        # under 24 pixels wide, which hold no face.
        if w <= width - previous - gap and (column - height) * 2 >= total - height:
            break
        column, previous = column + h + gap, w
    column -= gap
    boxes, y = [], margin
    while y < column + margin and len(boxes) < len(sizes):
        h, w = sizes[len(boxes)]
        boxes.append((margin, y, w, h))
        y += h + gap
    y -= gap
    for h, w in sizes[len(boxes) :]:
        left, top = margin + width - w, y - h
        if top < margin + height:  # it would lie on the image itself
            break
        boxes.append((left, top, w, h))
        y -= h + gap
    return Tiles(np.array(boxes), column + 2 * margin, width + 2 * margin)


def _level_sizes(height: int, width: int, rate: float) -> list[tuple[int, int]]:
    sizes = []
    while height >= _MIN_LEVEL and width > 0:
        sizes.append((height, width))
        height, width = int(rate * height), int(rate * width)
    return sizes


def tiled(image: np.ndarray, tiles: Tiles, fill: tuple[float, ...]) -> np.ndarray:
    """An image's pyramid in one image, each level resampled from the one before.

    Args:
        image: (H, W, 3) uint8.
        tiles: of this image's size.
        fill: the colour between the levels.

    Returns:
        (3, tiles.height, tiles.width) float32, from 0 to 255.
    """
    whole = np.empty((3, tiles.height, tiles.width), np.float32)
    whole[:] = np.array(fill, np.float32)[:, None, None]
    level = image.transpose(2, 0, 1).astype(np.float32, order="C")
    for left, top, width, height in tiles.boxes.tolist():
        level = resized(level, height, width)
        whole[:, top : top + height, left : left + width] = level
    return whole


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear resampling of (C, H, W) float32 that keeps the corner pixels' centres, as dlib's."""
    if image.shape[1:] == (height, width):
        return image
    return _along(2, _along(1, image, height), width)


def _along(axis: int, image: np.ndarray, size: int) -> np.ndarray:
    """Resample one axis, rounding as dlib does: a score near the threshold may turn on it."""
    first, second, share = _neighbours(image.shape[axis], size)
    if axis == 1:
        share = share[:, None]
    before, after = image.take(first, axis), image.take(second, axis)
    before *= 1 - share
    after *= share
    before += after
    return before


def _neighbours(size: int, wanted: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each sample, the pixels before and after it, and the latter's share (float32)."""
    places = np.arange(wanted) * ((size - 1) / max(wanted - 1, 1))
    before = np.minimum(places.astype(np.intp), size - 1)
    return before, np.minimum(before + 1, size - 1), (places - before).astype(np.float32)


def doubled(image: np.ndarray) -> np.ndarray:
    """An image (H, W, 3) uint8 at a little over twice the resolution."""
    height, width = image.shape[:2]
    planes = image.transpose(2, 0, 1).astype(np.float32, order="C")
    # dlib's pyramid_up: the size whose 5×5-filtered half the image is; it truncates.
    larger = resized(planes, 2 * height + 1, 2 * width + 2)
    return larger.astype(np.uint8).transpose(1, 2, 0)

"""From the chip's frame back to the photograph's."""

from __future__ import annotations

import numpy as np

from fggb_jax.faces import similarity
from fggb_jax.faces.resample import resample


def to_photo(values: np.ndarray, matrix: np.ndarray, photo_size: tuple[int, int]) -> np.ndarray:
    """A map of the chip in the photograph's frame.

    Values are interpolated, not spread: where the photograph shows the face larger, each is seen
    on more pixels.

    Args:
        values: (h, w), finite.
        matrix: (2, 3), photograph → chip, as `align` gives it.
        photo_size: (height, width) of the photograph.

    Returns:
        (height, width) float32, 0 outside the chip.
    """
    drawn = np.zeros(photo_size, np.float32)
    corners = outline(matrix, values.shape[:2])
    limit = np.array(photo_size[::-1])
    left, top = np.clip(np.floor(corners.min(axis=0)), 0, limit).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(axis=0)) + 1, 0, limit).astype(int)
    if left >= right or top >= bottom:
        return drawn
    window = similarity.invert(matrix) - [[0, 0, left], [0, 0, top]]
    size = bottom - top, right - left
    part = resample(values[..., None], window, size, edge="replicate")[..., 0]
    y, x = np.mgrid[top:bottom, left:right]
    u, v = np.moveaxis(similarity.apply(matrix, np.stack([x, y], axis=-1)), -1, 0)
    h, w = values.shape
    inside = (u >= -0.5) & (u <= w - 0.5) & (v >= -0.5) & (v <= h - 0.5)
    drawn[top:bottom, left:right] = np.where(inside, part, 0)
    return drawn


def outline(matrix: np.ndarray, chip_size: tuple[int, ...]) -> np.ndarray:
    """The chip's outer edge in the photograph.

    Args:
        matrix: (2, 3), photograph → chip.
        chip_size: (height, width) of the chip.

    Returns:
        (4, 2) float64: its corners left top, right top, right bottom, left bottom, as pixel
        coordinates (x, y) of the photograph; they may lie outside it.
    """
    height, width = chip_size
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]]) - 0.5
    return similarity.apply(similarity.invert(matrix), corners)

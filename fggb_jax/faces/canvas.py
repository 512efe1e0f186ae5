"""A part of a photograph, at a scale, on the square canvas that a detector looks at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image


@dataclass(frozen=True, eq=False)
class Canvas:
    """What a detector looks at, and where it lies in the photograph.

    Attributes:
        pixels: (side, side, 3) uint8 RGB: the part at the left top, black beyond it.
        origin: (left, top) of the part in the photograph.
        scale: pixels of the canvas a pixel of the photograph, across and down.
    """

    pixels: np.ndarray
    origin: tuple[int, int]
    scale: tuple[float, float]

    def to_photo(self, points: np.ndarray) -> np.ndarray:
        """Canvas coordinates (..., 2), x then y, in pixels → the photograph's, float64.

        Pixel centres lie at integers in both, so that half a pixel is half a pixel's edge.
        """
        return (points + 0.5) / np.array(self.scale) - 0.5 + np.array(self.origin)

    def boxes_to_photo(self, boxes: np.ndarray) -> np.ndarray:
        """The same for boxes (..., 4), left, top, right, bottom."""
        return self.to_photo(boxes.reshape(*boxes.shape[:-1], 2, 2)).reshape(boxes.shape)


def draw(
    image: np.ndarray,
    side: int,
    scale: float,
    part: tuple[float, float, float, float] | None = None,
) -> Canvas:
    """Draw a photograph, or a part of it, antialiased.

    Args:
        image: (H, W, 3) uint8 RGB.
        side: of the canvas; what does not fit is left out at the right and the bottom.
        scale: pixels of the canvas a pixel of the photograph; it is met to within a pixel.
        part: (left, top, right, bottom) in pixels of the photograph; it may reach beyond it.
    """
    height, width = image.shape[:2]
    left, top, right, bottom = part or (0, 0, width, height)
    reach = int(np.ceil(side / scale))  # no more than fits
    left, top = int(np.clip(left, 0, width - 1)), int(np.clip(top, 0, height - 1))
    right = int(np.clip(np.ceil(right), left + 1, min(width, left + reach)))
    bottom = int(np.clip(np.ceil(bottom), top + 1, min(height, top + reach)))
    width, height = (
        min(side, max(1, round(extent * scale))) for extent in (right - left, bottom - top)
    )
    found = Image.fromarray(image[top:bottom, left:right])
    if found.size != (width, height):
        # Pillow's filters widen where they make smaller.
        found = found.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.zeros((side, side, 3), np.uint8)
    pixels[:height, :width] = np.asarray(found)
    across, down = width / (right - left), height / (bottom - top)
    return Canvas(pixels, (left, top), (across, down))

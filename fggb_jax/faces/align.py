"""From a photograph and a face's landmarks to the aligned chip that a recognizer takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fggb_jax.errors import ImageError
from fggb_jax.faces.detection import check_photograph
from fggb_jax.faces.draw_back import outline
from fggb_jax.faces.resample import resample
from fggb_jax.faces.templates import Template, template

MIN_SIDE = 4  # of the chip in pixels of the photograph: less is no face
MAX_SIDE = 5  # of the chip as a multiple of the photograph's longer side


@dataclass(frozen=True, eq=False)
class Aligned:
    """An aligned face.

    Attributes:
        chip: (H, W, 3) uint8 RGB.
        matrix: (2, 3) float64, photograph → chip; pixel centres lie at integers on both sides.
    """

    chip: np.ndarray
    matrix: np.ndarray


def align(
    image: np.ndarray,
    landmarks: Mapping[str, np.ndarray],
    to: str | Template | None,
    size: tuple[int, int],
    scheme: str | None = None,
) -> Aligned:
    """Cut a face out of a photograph, upright and in the template's place.

    The chip is antialiased (see `resample`). What of it lies outside the photograph is black, as in
    the chips of dlib and insightface; the template says how sharply.

    Args:
        image: (H, W, 3) uint8 RGB.
        landmarks: name of the scheme → (P, 2) points, x then y, such as a detection has.
        to: the template, or the name that a card gives it.
        size: (height, width) of the chip: the card's.
        scheme: the landmarks to start from, such as a card names; where None, the template's
            preferred ones among those that are there.

    Raises:
        ImageError: the image is no photograph, the landmarks are not there, or no face's.
        ModelError: there is no such template or scheme.

    Example:
        >>> import numpy as np
        >>> photo = np.zeros((224, 224, 3), np.uint8)
        >>> points = np.array([[76, 103], [147, 103], [112, 143], [83, 184], [141, 184]])
        >>> align(photo, {"arcface-5": points}, "arcface-112", (112, 112)).chip.shape
        (112, 112, 3)
    """
    check_photograph(image)
    chosen = to if isinstance(to, Template) else template(to)
    matrix = chosen.matrix(landmarks, size, scheme)
    _refuse_misplaced(outline(matrix, size), image.shape)
    chip = resample(image, matrix, size, chosen.edge)
    return Aligned(np.clip(np.rint(chip), 0, 255).astype(np.uint8), matrix)


def _refuse_misplaced(corners: np.ndarray, shape: tuple[int, ...]) -> None:
    """Landmarks of another size of the photograph, or in other units than pixels."""
    limit = np.array(shape[1::-1])
    low, high = corners.min(axis=0), corners.max(axis=0)
    side = np.linalg.norm(corners[1] - corners[0])
    beside = (high < -0.5).any() or (low > limit - 0.5).any()
    if beside or side < MIN_SIDE or side > MAX_SIDE * limit.max():
        (left, top), (right, bottom) = low, high
        raise ImageError(
            f"the landmarks place the face at x {left:.1f} to {right:.1f}, y {top:.1f} to "
            f"{bottom:.1f}, in a photograph of {limit[0]}×{limit[1]} pixels; they must be pixels "
            "of this photograph, upright and at this size"
        )

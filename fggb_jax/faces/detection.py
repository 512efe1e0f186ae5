"""What a face detector finds, and what every detector offers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fggb_jax.errors import ImageError


@dataclass(frozen=True, eq=False)
class Detection:
    """One face in a photograph. Coordinates are pixels; pixel centres lie at integers.

    Attributes:
        box: (left, top, right, bottom); it may reach beyond the photograph.
        score: the detector's confidence; what its values mean is the detector's business.
        landmarks: name of the scheme → (P, 2) float32, x then y.
    """

    box: tuple[float, float, float, float]
    score: float
    landmarks: Mapping[str, np.ndarray]


class Detector(Protocol):
    """Finds faces."""

    @property
    def name(self) -> str:
        """Which detector it is, for a result's provenance."""
        ...

    @property
    def schemes(self) -> tuple[str, ...]:
        """The landmark schemes that each detection has."""
        ...

    def detect(self, image: np.ndarray) -> list[Detection]:
        """Find the faces of (H, W, 3) uint8 RGB, the best first."""
        ...


def check_photograph(image: np.ndarray) -> None:
    """Refuse what is no photograph.

    Raises:
        ImageError: it is not (H, W, 3) uint8, or it is empty.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ImageError(
            f"an array of shape {image.shape} and dtype {image.dtype} was given; a photograph is "
            "(H, W, 3) uint8 RGB"
        )


def overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of one box (4,) with each of `boxes` (K, 4) → (K,).

    Boxes are (left, top, right, bottom).
    """
    corner = np.maximum(box[:2], boxes[:, :2])
    extent = np.maximum(np.minimum(box[2:], boxes[:, 2:]) - corner, 0)
    shared = extent.prod(axis=1)
    union = np.prod(box[2:] - box[:2]) + np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) - shared
    return shared / np.maximum(union, np.finfo(np.float32).tiny)


def suppress(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> list[int]:
    """Non-maximum suppression: indices of the boxes to keep, the best first.

    Args:
        boxes: (K, 4) left, top, right, bottom.
        scores: (K,).
        threshold: a box goes whose overlap (intersection over union) with a better one is above.
    """
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while order.size:
        best, rest = order[0], order[1:]
        kept.append(int(best))
        order = rest[overlap(boxes[best], boxes[rest]) <= threshold]
    return kept

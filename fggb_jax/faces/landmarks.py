"""Landmark schemes, and how one follows from another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from fggb_jax.errors import ImageError, ModelError


@dataclass(frozen=True)
class Scheme:
    """How many points a face has, and which.

    Attributes:
        count: the number of points P.
        order: which point is which, in words.
    """

    count: int
    order: str


# Left and right are those of the image.
SCHEMES = {
    "arcface-5": Scheme(5, "left eye, right eye, nose tip, left mouth corner, right mouth corner"),
    "dlib-5": Scheme(
        5,
        "outer and inner corner of the right eye, outer and inner corner of the left eye, base of "
        "the nose",
    ),
    "dlib-68": Scheme(
        68,
        "iBUG 300-W: jaw 0-16, brows 17-26, nose 27-35, left eye 36-41, right eye 42-47, "
        "lips 48-67",
    ),
}

# Which of the 68 points each one is in a mirrored photograph: jaw, brows, nose, eyes, lips.
MIRROR_68 = np.array(
    [
        *range(16, -1, -1),
        *range(26, 16, -1),
        *range(27, 31),
        *range(35, 30, -1),
        *(45, 44, 43, 42, 47, 46),
        *(39, 38, 37, 36, 41, 40),
        *range(54, 47, -1),
        *range(59, 54, -1),
        *range(64, 59, -1),
        *range(67, 64, -1),
    ]
)


def _arcface_from_68(p: np.ndarray) -> np.ndarray:
    return np.stack([p[36:42].mean(axis=0), p[42:48].mean(axis=0), p[30], p[48], p[54]])


def _dlib5_from_68(p: np.ndarray) -> np.ndarray:
    return p[[45, 42, 36, 39, 33]]


# (from, to) → the conversion.
_CONVERSIONS: dict[tuple[str, str], Callable[[np.ndarray], np.ndarray]] = {
    ("dlib-68", "arcface-5"): _arcface_from_68,
    ("dlib-68", "dlib-5"): _dlib5_from_68,
}


def find(landmarks: Mapping[str, np.ndarray], scheme: str) -> np.ndarray | None:
    """The points of `scheme`: those that are there, else derived from another scheme.

    Args:
        landmarks: name of the scheme → (P, 2).
        scheme: the one wanted.

    Returns:
        (P, 2) float64, x then y; None where `landmarks` has nothing that leads to the scheme.

    Raises:
        ImageError: the points are not what their scheme says, or not finite.
        ModelError: there is no such scheme.
    """
    check_scheme(scheme)
    if scheme in landmarks:
        return check_points(landmarks[scheme], scheme)
    for (source, target), convert in _CONVERSIONS.items():
        if target == scheme and source in landmarks:
            return convert(check_points(landmarks[source], source))
    return None


def check_scheme(name: str) -> None:
    """Refuse the name of a scheme that does not exist.

    Raises:
        ModelError: the schemes that do are listed.
    """
    if name not in SCHEMES:
        raise ModelError(
            f"there is no landmark scheme {name!r}; schemes: {', '.join(sorted(SCHEMES))}"
        )


def check_points(points: np.ndarray, scheme: str) -> np.ndarray:
    """The points as (P, 2) float64, if they can be those of `scheme`.

    Raises:
        ImageError: another shape, or a value that is not finite.
    """
    array = np.asarray(points, np.float64)
    wanted = (SCHEMES[scheme].count, 2)
    if array.shape != wanted:
        raise ImageError(
            f"landmarks of shape {array.shape} were given; {scheme} takes {wanted}: "
            f"{SCHEMES[scheme].order}"
        )
    if not np.isfinite(array).all():
        raise ImageError(f"{scheme} landmarks hold a value that is not finite (NaN or infinity)")
    return array

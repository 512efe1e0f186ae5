"""Similarity transforms of the plane: the least-squares fit, inversion.

A transform is a (2, 3) float64 matrix M that takes (x, y) to M · (x, y, 1).
"""

from __future__ import annotations

import numpy as np

from fggb_jax.errors import ImageError

# The least extent of a face's landmarks across, as a share of that along: less is a line.
MIN_FLATNESS = 1e-2
# By how much a mirror image may fit better (in correlation). A profile is nearly a line, to which
# its mirror image fits as well, and noise decides.
MIRROR_MARGIN = 0.05


def fit(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The rotation, scale and shift that bring `source` nearest to `target`.

    It minimizes the summed squared distances in the target's plane, as
    [Umeyama (1991)](https://doi.org/10.1109/34.88573) does, by its closed form in the plane: with
    both point sets centred and read as complex numbers p and q, q ≈ a·p for a = Σ p̄q / Σ |p|².

    Args:
        source: (P, 2) points, x then y.
        target: (P, 2) where they should go.

    Returns:
        (2, 3) float64, source → target.

    Raises:
        ImageError: the points are not finite, coincide, lie on a line, or are a mirror image.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    _refuse_degenerate(source)
    _refuse_degenerate(target)
    middle, goal = source.mean(axis=0), target.mean(axis=0)
    p, q = _complex(source - middle), _complex(target - goal)
    direct, mirrored = np.vdot(p, q), np.sum(p * q)  # vdot conjugates its first argument
    size = np.linalg.norm(p) * np.linalg.norm(q)
    if abs(mirrored) - abs(direct) > MIRROR_MARGIN * size:
        raise ImageError(
            "the landmarks are the mirror image of a face: left and right, which are those of the "
            "image, are exchanged"
        )
    a = direct / np.vdot(p, p).real
    linear = np.array([[a.real, -a.imag], [a.imag, a.real]])
    return np.column_stack([linear, goal - linear @ middle])


def _complex(points: np.ndarray) -> np.ndarray:
    return points[:, 0] + 1j * points[:, 1]


def _refuse_degenerate(points: np.ndarray) -> None:
    if not np.isfinite(points).all():
        raise ImageError("the landmarks hold a value that is not finite (NaN or infinity)")
    along, across = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    # What rounding leaves of points that coincide is no extent.
    if along <= 1e-9 * (1 + np.abs(points).max()):
        raise ImageError("the landmarks all coincide: they cannot be a face's")
    if across < MIN_FLATNESS * along:
        raise ImageError("the landmarks lie on one line: they cannot be a face's")


def invert(matrix: np.ndarray) -> np.ndarray:
    """The inverse of a (2, 3) transform, (2, 3)."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.column_stack([linear, -linear @ matrix[:, 2]])


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(2, 3) transform, (..., 2) points → (..., 2)."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def scale(matrix: np.ndarray) -> float:
    """How much longer a transform makes things."""
    return float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))

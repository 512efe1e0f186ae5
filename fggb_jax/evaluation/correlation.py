"""How alike two maps are: Spearman's rank correlation and the cosine.

Spearman (1904): Pearson's correlation of the ranks, tied values sharing the mean of their ranks. It
asks only in which order the pixels come, so that no scaling of a map changes it.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from fggb_jax.attribution.corrrise import ranks


def spearman(a: Float[np.ndarray, "*S"], b: Float[np.ndarray, "*S"]) -> float:
    """Spearman's rank correlation of two maps, in [−1, 1].

    Args:
        a: a map of any shape.
        b: another of the same shape.

    Returns:
        NaN where a map is constant, so that it ranks nothing, or has values that are not finite.

    Raises:
        ValueError: the shapes differ.

    Example:
        >>> round(spearman(np.array([1.0, 2, 3, 4]), np.array([10.0, 20, 40, 30])), 6)
        0.8
    """
    _check(a, b)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("nan")
    first, second = ranks(a), ranks(b)
    return cosine(first - first.mean(), second - second.mean())


def cosine(a: Float[np.ndarray, "*S"], b: Float[np.ndarray, "*S"]) -> float:
    """The cosine of two maps taken as vectors, in [−1, 1].

    Returns:
        NaN where a map is zero everywhere or has values that are not finite.

    Raises:
        ValueError: the shapes differ.
    """
    _check(a, b)
    x, y = _direction(a), _direction(b)
    return float("nan") if x is None or y is None else float(np.clip(x @ y, -1, 1))


def _direction(values: np.ndarray) -> np.ndarray | None:
    """The vector of length 1; None where there is none."""
    flat = np.asarray(values, np.float64).ravel()
    largest = np.abs(flat).max(initial=0)
    if not (0 < largest < np.inf):  # of NaN neither holds
        return None
    flat = flat / largest  # or the squares of a tiny map would vanish
    return flat / np.linalg.norm(flat)


def _check(a: np.ndarray, b: np.ndarray) -> None:
    if np.shape(a) != np.shape(b):
        raise ValueError(f"maps of shapes {np.shape(a)} and {np.shape(b)}; give two of one shape")

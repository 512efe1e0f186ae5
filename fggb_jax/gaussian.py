"""Gaussian smoothing as a matrix of weights, one for each axis."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Float32

Edges = Literal["mirrored", "repeated"]


def matrix(n: int, sigma: float, edges: Edges, reach: float) -> Float[np.ndarray, "n n"]:
    """Row i holds the weights of all pixels for pixel i, which add up to 1.

    Args:
        n: pixels in a row.
        sigma: in pixels, above 0.
        edges: what lies beyond them: … c b a | a b c | c b a …, or a a a | a b c | c c c.
        reach: where the Gaussian is cut off, in sigmas.
    """
    radius = int(np.ceil(reach * sigma))
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    sources = np.arange(n)[:, None] + offsets
    if edges == "repeated":
        sources = sources.clip(0, n - 1)
    else:
        sources = sources % (2 * n)
        sources = np.where(sources < n, sources, 2 * n - 1 - sources)
    found = np.zeros((n, n))
    np.add.at(found, (np.arange(n)[:, None], sources), weights / weights.sum())
    return found


def smooth(values: Any, sigma: float) -> Float32[np.ndarray, "H W"]:
    """Gaussian smoothing that keeps the sum: the image is mirrored at its edges."""
    out = np.asarray(values, np.float32)
    if sigma <= 0:
        return out
    for axis in (0, 1):
        weights = matrix(out.shape[axis], sigma, "mirrored", 4)
        out = np.moveaxis(weights @ np.moveaxis(out, axis, 0), 0, axis)
    return out.astype(np.float32)

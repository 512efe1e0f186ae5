"""Resampling under a similarity transform, without aliasing."""

from __future__ import annotations

from typing import Literal

import numpy as np

from fggb_jax.faces import similarity

Edge = Literal["blend", "cut", "replicate"]
BAND = 2**17  # results that are computed at once, so that a large photograph needs little memory


def resample(
    image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], edge: Edge = "blend"
) -> np.ndarray:
    """Draw an image under a similarity transform.

    Where the transform does not make the image smaller this is bilinear interpolation. Where it
    does, the interpolated image is averaged under a tent that, with that of the interpolation, is
    as wide as two of the result's pixels: none is left out, and a linear ramp stays where it is,
    exactly. What becomes over four times as small is first averaged in whole blocks, to two to
    three times.

    Args:
        image: (H, W, C), any real dtype.
        matrix: (2, 3), image → result; pixel centres lie at integers.
        size: (height, width) of the result.
        edge: beyond the image lies black, which "blend" mixes with the pixels at the edge, as
            OpenCV's constant border does, and "cut" does not, as in dlib: black is what lies
            beyond the centres of the outermost pixels, and only that. "replicate" continues the
            outermost pixels.

    Returns:
        (height, width, C) float32.
    """
    back = similarity.invert(matrix)
    step = similarity.scale(back)  # pixels of the image a pixel of the result
    block = max(1, int(step / 2))
    step = max(1.0, step / block)
    margin = block * int(np.ceil(step) + 3)
    region, origin = _region(image, back, size, margin=margin, block=block, edge=edge)
    if block > 1:
        rows, columns = region.shape[0] // block, region.shape[1] // block
        blocks = region.reshape(rows, block, columns, block, -1)
        region = blocks.mean(axis=(1, 3), dtype=np.float32)
    region = region.astype(np.float32)
    result = np.empty((*size, region.shape[2]), np.float32)
    band = max(1, BAND // size[1])
    for top in range(0, size[0], band):
        y, x = np.mgrid[top : min(top + band, size[0]), : size[1]].astype(np.float64)
        points = similarity.apply(back, np.stack([x, y], axis=-1))
        drawn = _average(region, (points - origin + 0.5) / block - 0.5, step)
        if edge == "cut":
            drawn[((points < 0) | (points > np.array(image.shape[1::-1]) - 1)).any(axis=-1)] = 0
        result[top : top + band] = drawn
    return result


def _average(image: np.ndarray, points: np.ndarray, step: float) -> np.ndarray:
    """Weighted means of (H, W, C) float32 about `points` (h, w, 2), a step apart → (h, w, C)."""
    height, width, channels = image.shape
    columns, across = _weights(points[..., 0].ravel(), step)
    rows, down = _weights(points[..., 1].ravel(), step)
    np.clip(columns, 0, width - 1, out=columns)
    np.clip(rows, 0, height - 1, out=rows)
    flat = image.reshape(-1, channels)
    total = np.zeros((len(rows), channels), np.float32)
    for i in range(rows.shape[1]):
        for j in range(columns.shape[1]):
            weights = down[:, i] * across[:, j]
            total += flat[rows[:, i] * width + columns[:, j]] * weights[:, None]
    return total.reshape(*points.shape[:2], channels)


def _weights(centres: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """The pixels that results at `centres` (K,) are made of, and their shares: (K, taps) each."""
    radius = np.sqrt(step**2 - 1)  # so that the kernel's variance is that of a tent of `step`
    taps = int(np.ceil(2 * (1 + radius)))
    first = np.floor(centres - (1 + radius)).astype(np.int64) + 1
    pixels = first[:, None] + np.arange(taps)
    return pixels, _kernel(pixels - centres[:, None], radius).astype(np.float32)


def _kernel(x: np.ndarray, radius: float) -> np.ndarray:
    """The tent of linear interpolation convolved with a tent of `radius` and area 1.

    A tent is a second difference of |x|/2, so their convolution is one of one of |x|³/12.
    """
    if radius < 1e-4:
        return np.maximum(0, 1 - np.abs(x))
    second = ((-1, 1), (0, -2), (1, 1))
    total = np.zeros_like(x)
    for i, a in second:
        for j, b in second:
            distance = np.abs(x - (i + j * radius))
            total += a * b * (distance * distance * distance)  # ** 3 is ten times as slow
    return np.maximum(0, total / (12 * radius**2))


def _region(
    image: np.ndarray,
    back: np.ndarray,
    size: tuple[int, int],
    *,
    margin: int,
    block: int,
    edge: Edge,
) -> tuple[np.ndarray, np.ndarray]:
    """The part of the image that the result is drawn from, with an edge about it.

    Returns:
        (h, w, C), h and w multiples of `block`; and its left top corner (x, y) in the image. What
        lies beyond it is as its outermost pixels are.
    """
    height, width = size
    corners = np.array([[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]])
    found = similarity.apply(back, corners.astype(np.float64))
    limit = np.array(image.shape[1::-1])
    # Where the result lies off the image, a strip at the image's edge is enough.
    low = np.clip(np.floor(found.min(axis=0)) - margin, -margin, limit - 1).astype(int)
    high = np.clip(np.ceil(found.max(axis=0)) + margin, 0, limit + margin).astype(int) + 1
    high = low + -(-(high - low) // block) * block
    start, stop = np.clip(low, 0, limit - 1), np.clip(high, 1, limit)
    part = image[start[1] : stop[1], start[0] : stop[0]]
    before, after = np.maximum(start - low, 0), np.maximum(high - stop, 0)
    widths = ((before[1], after[1]), (before[0], after[0]), (0, 0))
    mode = "constant" if edge == "blend" else "edge"
    return np.pad(part, widths, mode), low.astype(np.float64)

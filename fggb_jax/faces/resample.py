"""Resampling under a similarity transform, without aliasing."""

from __future__ import annotations

from typing import Literal

import numpy as np

from fggb_jax.faces import similarity

Edge = Literal["blend", "cut", "replicate"]
BAND = 2**13  # results that are computed at once: what they need stays in the processor's cache


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
    # The radius that makes the kernel's variance that of a tent as wide as `step`.
    radius = float(np.sqrt(max(1.0, step / block) ** 2 - 1))
    region, origin = _region(
        image, back, size, margin=block * _taps(radius), block=block, edge=edge
    )
    planes, (left, above) = _planes(region, block), origin - 0.5
    result = np.empty((*size, len(planes)), np.float32)
    band = max(1, BAND // size[1])
    for top in range(0, size[0], band):
        column, row = np.arange(size[1]), np.arange(top, min(top + band, size[0]))[:, None]
        x, y = (along * column + (across * row + shift) for along, across, shift in back)
        drawn = result[top : top + band]
        drawn[:] = _average(planes, (x - left) / block - 0.5, (y - above) / block - 0.5, radius)
        if edge == "cut":
            height, width = image.shape[:2]
            drawn[(x < 0) | (x > width - 1) | (y < 0) | (y > height - 1)] = 0
    return result


def _average(planes: np.ndarray, x: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
    """Weighted means of (C, H, W) float32 about the points x, y, both (h, w) → (h, w, C)."""
    channels, height, width = planes.shape
    columns, across = _weights(x.ravel(), radius, width)
    rows, down = _weights(y.ravel(), radius, height)
    flat, start = planes.reshape(channels, -1), rows * width + columns
    total = np.zeros((channels, len(start)), np.float32)
    for i, lower in enumerate(down):
        for j, right in enumerate(across):
            pixels = flat.take(start + (i * width + j), axis=1)
            pixels *= lower * right
            total += pixels
    return total.T.reshape(*x.shape, channels)


def _taps(radius: float) -> int:
    """How many pixels in a row a result is made of."""
    return int(np.ceil(2 * (1 + radius)))


def _weights(centres: np.ndarray, radius: float, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The first pixels that results at `centres` (K,) are made of, and the shares (taps, K).

    Of `size` pixels, the outermost ones are alike: a centre beyond them sees these.

    The kernel is the tent of linear interpolation convolved with one of `radius` and area 1. A tent
    is the second difference of |x|/2, so the kernel is that of |x|/2 under the second tent:
    |x|/2 + max(0, radius − |x|)³ / (6 radius²), here from pixel to pixel.
    """
    taps = _taps(radius)
    start = np.clip(centres - (1 + radius), -1, size - 1 - taps)
    before = np.floor(start)
    nearest = (before - start - (1 + radius)).astype(np.float32)
    distance = np.abs(np.arange(taps + 2, dtype=np.float32)[:, None] + nearest)
    cap = np.maximum(np.float32(radius) - distance, 0)
    smooth = distance / 2 + cap * cap * cap / np.float32(6 * max(radius, 1e-9) ** 2)
    return before.astype(np.intp) + 1, np.diff(smooth, 2, axis=0)


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


def _planes(region: np.ndarray, block: int) -> np.ndarray:
    """(H, W, C) → float32 (C, H / block, W / block), the means of blocks."""
    height, width, channels = region.shape
    blocks = region.reshape(height // block, block, width // block, block, channels)
    # Along one axis after the other, so that the inner loops are long.
    rows = np.einsum("yixjc->yxjc", blocks, dtype=np.float32, casting="unsafe")
    return np.einsum("yxjc->cyx", rows, order="C") / np.float32(block * block)

"""The pullback of a maximum over windows that is fast on a CPU, channels last."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from onnx2jax.lowering.conv import Pair, interleaved


def scatter_to_maxima(
    cotangent: jax.Array,
    x: jax.Array,
    window: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[Pair],
) -> jax.Array:
    """Add each window's cotangent (N, H', W', C) to the place of its first maximum in x.

    XLA:CPU looks for the maxima anew for each cotangent. Here they are masks, one for each tap,
    which depend on x alone; each phase of the result sums the taps that it meets.

    Args:
        cotangent: one for each window.
        x: the images, (N, H, W, C).
        window: rows and columns.
        stride: likewise.
        padding: likewise, (before, after), ≥ 0.

    Returns:
        (N, H, W, C).
    """
    edges = [(0, 0), *padding, (0, 0)]
    padded = jnp.pad(x, edges, constant_values=-jnp.inf)
    masks = _first_maxima(padded, window, stride, cotangent.shape[1:3])
    height, width = (-(-padded.shape[1 + i] // stride[i]) for i in range(2))

    def phase(i: int, j: int) -> jax.Array:
        total = jnp.zeros((len(x), height, width, x.shape[3]), cotangent.dtype)
        for row in range(i, window[0], stride[0]):
            for column in range(j, window[1], stride[1]):
                met = jnp.where(masks[row][column], cotangent, 0)
                top, left = row // stride[0], column // stride[1]
                bottom, right = height - top - met.shape[1], width - left - met.shape[2]
                total = total + jnp.pad(met, ((0, 0), (top, bottom), (left, right), (0, 0)))
        return total

    whole = interleaved([[phase(i, j) for j in range(stride[1])] for i in range(stride[0])], 1)
    (top, _), (left, _) = padding
    return whole[:, top : top + x.shape[1], left : left + x.shape[2]]


def _first_maxima(
    x: jax.Array, window: Sequence[int], stride: Sequence[int], outputs: Sequence[int]
) -> list[list[jax.Array]]:
    """For each tap the windows that have their first maximum there."""
    rows, columns = ((n - 1) * s + 1 for n, s in zip(outputs, stride, strict=True))
    taps = [
        [x[:, i : i + rows : stride[0], j : j + columns : stride[1]] for j in range(window[1])]
        for i in range(window[0])
    ]
    best = jnp.stack([tap for line in taps for tap in line]).max(0)
    free, masks = jnp.ones(best.shape, bool), []
    for line in taps:
        masks.append([])
        for tap in line:
            here = (tap == best) & free
            masks[-1].append(here)
            free &= ~here
    return masks

"""The pixels of a map in order, most salient first.

Maps have ties: most pixels of a map may be 0. Were they taken in the order in which they lie in
memory, a removal would eat the image from its top, a pattern that the map did not draw. Ties are
therefore broken by a pseudo-random order of the pixels that is fixed for an image's size: the same
for all maps, methods and runs, so that two maps differ in their scores only where they differ.

A map whose values are all equal marks nothing and is EMPTY: it has no order. Whoever asks gets
None, and reports no score (NaN) but that the map was empty. To rank an empty map at random instead
would give a method that says nothing the score of a random map. In a map that is not empty pixels
of value 0 come last, in the fixed order.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int

from fggb_jax.errors import FggbError


def ranked(values: Float[np.ndarray, "H W"]) -> Int[np.ndarray, " H*W"] | None:
    """The pixels by falling value, as places in the flattened map.

    Args:
        values: finite, of any sign.

    Returns:
        A permutation of 0 … H·W − 1; None for an empty map.

    Raises:
        FggbError: values that are not finite.
    """
    flat = np.ravel(values)
    if bad := np.count_nonzero(~np.isfinite(flat)):
        raise FggbError(
            f"{bad} of {flat.size} values of a map are not finite, so its pixels have no order; "
            "this is a fault of the method"
        )
    if flat.size == 0 or flat.min() == flat.max():
        return None
    return np.lexsort((_fixed(flat.size), -flat))


def prefixes(
    order: Int[np.ndarray, " H*W"], counts: Sequence[int], shape: tuple[int, int]
) -> Bool[np.ndarray, "K H W"]:
    """The first pixels of an order as masks, one for each count in [0, H·W]."""
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank.reshape(shape) < np.asarray(counts)[:, None, None]


@lru_cache(maxsize=8)
def _fixed(count: int) -> np.ndarray:
    """The order that breaks ties: each pixel's place in it."""
    return np.random.default_rng(count).permutation(count)

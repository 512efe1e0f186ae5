"""xFace: systematic occlusion by patches of three sizes, and the distance that follows.

Knoche, Teepe, Hörmann and Rigoll, "Explainable Model-Agnostic Similarity and Confidence in Face
Verification", arXiv 2211.13735, WACV Workshops 2023.

For patches of p×p pixels, their masks m of what is hidden and the cosine distance d = 1 − cos:

    S_p = mean over the patches of m·(d_m − d_0) ÷ p²        S = mean of S_p over the sizes

so what takes the faces apart when it is hidden speaks for the match. What d_m is taken to is the
pairing:

- "single": the other face as it is; the faces' own embeddings but one stay.
- "same": the other face, hidden at the same place.
- "all": the other face hidden at any place by a patch of that size: the mean of these distances.
  It needs all embeddings, not all couples of forward passes.

"same" and "all" embed as many faces of the partner's as of the image's. The authors' code offers
all three and takes "all" where nobody says otherwise; the default here is "single", which is what
the other methods that hide parts ask, at half the passes. Their patches are drawn a pixel larger
than they are named and their maps are blurred over 5 pixels: neither is done here.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Literal, get_args

import numpy as np
from jaxtyping import Array, Float, Int

from fggb_jax.attribution.comparison import Comparison, unit
from fggb_jax.attribution.options import one_of, whole
from fggb_jax.attribution.perturbation import Fill, Outer, fill_of, hidden, scaled, total, windows
from fggb_jax.attribution.registry import face_method
from fggb_jax.errors import OptionError

Pairing = Literal["single", "same", "all"]

SIZES, STRIDE = (7, 14, 28), 5  # pixels of 112


@face_method("xface", "xFace", gradients=False)
def xface(
    c: Comparison,
    *,
    pairing: Pairing = "single",
    sizes: int | Sequence[int] | None = None,
    stride: int | None = None,
    fill: Fill = "black",
    forwards: int | None = None,
) -> Float[np.ndarray, "H W"]:
    """How far the faces are taken apart by patches that cover a pixel.

    Args:
        c: the image and what it is compared with.
        pairing: "single", "same" or "all".
        sizes: of the patches, in pixels, one or several; 7, 14 and 28 of 112 where None.
        stride: from patch to patch, in pixels; 5 of 112 where None.
        fill: what hides, the code's black: see `fill_of`.
        forwards: at most that many forward passes a face, by a longer stride; those of the sizes
            and the stride where None: 1,130 at 112, twice that for "same" and "all".

    Returns:
        (H, W). The last patches end before the last pixels, which the published grid leaves out: 0
        there, and in the gaps that a stride longer than the patches leaves.

    Raises:
        OptionError: an option that makes no sense, or fewer passes than sizes, twice that for
            "same" and "all".
    """
    one_of("pairing", pairing, get_args(Pairing))
    masks, size = _patches(c.size, sizes, stride, _half(forwards, pairing))
    rise = _distances(c, masks, size, pairing, fill) - (1 - c.cosine)
    # The mean over the patches of each size, and then over the sizes.
    known, counts = np.unique(size, return_counts=True)
    weights = 1 / (counts * known**2.0 * len(known))
    return total(masks, rise * weights[np.searchsorted(known, size)])


def _half(forwards: int | None, pairing: Pairing) -> int | None:
    """The patches that so many forward passes pay for."""
    each = 1 if pairing == "single" else 2
    return None if forwards is None else whole("forwards", forwards, each) // each


def _patches(
    shape: tuple[int, int],
    sizes: int | Sequence[int] | None,
    stride: int | None,
    most: int | None,
) -> tuple[Outer, Int[np.ndarray, " K"]]:
    """The patches of all sizes, and the size of each."""
    if sizes is None:
        sizes = [scaled(size, shape[0]) for size in SIZES]
    elif not isinstance(sizes, Sequence):  # one size
        sizes = [sizes]
    stride = whole("stride", scaled(STRIDE, shape[0]) if stride is None else stride, 1)
    sizes = sorted({whole("sizes", size, 1, min(shape)) for size in sizes})
    if not sizes:
        raise OptionError("sizes is empty; give the sides of the patches in pixels")
    if most is not None and most < len(sizes):
        raise OptionError(f"forwards pays for {most} patches of {len(sizes)} sizes; give more")
    corners = [_corners(shape, size, stride) for size in sizes]
    while most is not None and sum(map(len, corners)) > most:
        stride += 1
        corners = [_corners(shape, size, stride) for size in sizes]
    size = np.repeat(sizes, [len(each) for each in corners])
    return windows(shape, np.concatenate(corners), size), size


def _corners(shape: tuple[int, int], size: int, stride: int) -> Int[np.ndarray, "K 2"]:
    """As published: from the first pixel on, as long as a pixel is left after the patch."""
    return np.array(list(product(*(range(0, max(n - size, 1), stride) for n in shape))))


def _distances(
    c: Comparison, masks: Outer, size: Int[np.ndarray, " K"], pairing: Pairing, fill: Fill
) -> Float[np.ndarray, " K"]:
    """From each hidden image to what it is paired with."""
    ours = _embedded(c, c.image, masks, fill)
    if pairing == "single":
        return 1 - ours @ c.target
    theirs = _embedded(c, c.partner, masks, fill)
    if pairing == "same":
        return 1 - (ours * theirs).sum(-1)
    # The mean distance to unit embeddings is the distance to their mean.
    means = {one: theirs[size == one].mean(0) for one in np.unique(size)}
    return 1 - (ours * np.stack([means[one] for one in size])).sum(-1)


def _embedded(c: Comparison, image: Array, masks: Outer, fill: Fill) -> Float[np.ndarray, "K N"]:
    """The unit embeddings of an image, hidden by each mask."""
    hides = fill_of(image, fill)
    return unit(c.embed(len(masks), lambda part: hidden(image, masks[part], hides)))

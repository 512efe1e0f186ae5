"""S-RISE, similarity RISE: the cosines of randomly hidden faces, averaged where a pixel is seen.

Lu and Ebrahimi, "Explanation of Face Recognition via Saliency Maps", arXiv 2304.06118, 2023. The
paper's text was not at hand: that the weights of RISE's masks are the cosine to the fixed other
face and that the map is their expectation, as in RISE, is second-hand.

    M = E − min E,   E = Σ_m m·c_m ÷ Σ_m m

for RISE's masks m of what is seen. The lowest value is taken off, as by the min-max scaling of
published heat maps: it is nearly the mean cosine of all masks, and says nothing of any place.

How it differs from `rise` here: this map is unsigned and says how much a pixel matters, so all of
it is similarity where the pair is accepted and dissimilarity where it is not; `rise` subtracts the
mean cosine where the pixel is hidden, and its sign says what a pixel speaks for.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from fggb_jax.attribution.comparison import Comparison
from fggb_jax.attribution.perturbation import Fill, affordable
from fggb_jax.attribution.registry import face_method
from fggb_jax.attribution.rise import EMPTY, random_grids, sums


@face_method("srise", "S-RISE", signed=False, gradients=False)
def srise(
    c: Comparison,
    *,
    masks: int = 500,
    cells: int = 7,
    keep: float = 0.5,
    fill: Fill = "black",
    seed: int = 0,
    forwards: int | None = None,
) -> Float[np.ndarray, "H W"]:
    """The mean cosine where a pixel is seen, above its lowest value.

    Args:
        c: the image and what it is compared with.
        masks: how many, a forward pass each.
        cells: of the grid, along each side.
        keep: the share of cells that are seen.
        fill: what hides: see `fill_of`.
        seed: of the masks.
        forwards: at most that many forward passes a face; `masks` where None.

    Returns:
        (H, W), 0 or more; 0 where a pixel was never seen.

    Raises:
        OptionError: an option that makes no sense, or fewer than 2 forward passes.
    """
    count = affordable(masks, forwards, "masks", 2)
    found = sums(c, random_grids(c.size, count, cells, keep, seed), fill)
    seen = found.uncovered > EMPTY
    mean = found.mean_seen(seen)
    return np.where(seen, mean - mean.min(initial=np.inf, where=seen), 0)

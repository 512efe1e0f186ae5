"""Half hidden: gradients at faces of which one half is blurred, read where it is.

A method of this project: FGGB's gradients taken where they can be trusted. With ∂cos/∂F_k for the
weight of channel k, the gradient of the cosine at an image X is

    g(X) = Σ_k ∂cos/∂F_k · ∂F_k/∂X

FGGB takes it at the face itself, where the cosine hardly feels the loss of a feature that the rest
of the face makes up for, and its sign turns from pixel to pixel, which a magnitude keeps as noise.
So, for the face I, the face E blurred until its features are gone, and the partner's face B:

1. Random coarse masks m hide about one half of the face, and 1 − m the other. The gradient at a
   half-hidden face says what would be gained if what is hidden were seen, to first order:

       D = Σ_m m · Σ_RGB (I − E) · g(I + m·(E − I)) / R        for R masks and their complements

   Each place is hidden by exactly one mask of a couple, so that all count alike. An occlusion map
   learns one number from a forward pass, the fall for one patch; this one learns a field.
2. What sets the faces apart is asked where both are mixed, for they are aligned alike: the midpoint
   rule for the way from B to I,

       B' = Σ_RGB (I − B) · g((I + B) / 2)

   whose sum is about cos(I) − 1, all that the differences take away.
3. The map is smoothed while it has its sign, so that what alternates cancels, and only then split:

       S = G_σ ∗ (D + λ·B')
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from fggb_jax.attribution.comparison import Comparison
from fggb_jax.attribution.integrated_gradients import added
from fggb_jax.attribution.options import not_negative, whole
from fggb_jax.attribution.perturbation import blurred
from fggb_jax.attribution.registry import face_method
from fggb_jax.attribution.rise import random_grids
from fggb_jax.gaussian import smooth

BLUR = 1 / 10  # σ of what hides, of the face's height: an eye is no longer one
SIGMA = 1 / 14  # of the map's


@face_method("half_hidden", "Half-hidden gradients")
def half_hidden(
    c: Comparison,
    *,
    rounds: int = 4,
    cells: int = 9,
    swap: float = 0.5,
    blur: float | None = None,
    sigma: float | None = None,
    seed: int = 0,
) -> Float[np.ndarray, "H W"]:
    """What each place adds to the match where it is missing, less where it differs.

    Args:
        c: the image and what it is compared with.
        rounds: R, masks with their complements; two gradients each, and one more for `swap`.
        cells: of a mask's grid, along each side.
        swap: λ, the weight of the comparison with the partner's own pixels; 0 leaves it out.
        blur: σ of the Gaussian that hides, in pixels; a tenth of the image's height where None.
        sigma: of the Gaussian over the map, in pixels; a fourteenth of the height where None, 0 for
            none.
        seed: of the masks.

    Raises:
        OptionError: no rounds, more cells than pixels, a negative swap, blur, sigma or seed.
    """
    whole("rounds", rounds, 1)
    not_negative("swap", swap)
    height, _ = c.size
    sigma = SIGMA * height if sigma is None else not_negative("sigma", sigma)
    blur = BLUR * height if blur is None else not_negative("blur", blur)
    half = random_grids(c.size, rounds, cells, 0.5, seed)[:]
    masks = np.concatenate([half, 1 - half])
    total = (masks * added(c, blurred(c.image, blur), masks)).sum(0) / rounds
    if swap > 0:
        (mixed,) = added(c, c.partner, np.full((1, 1, 1), 0.5, np.float32))
        total += np.float32(swap) * mixed
    return smooth(total, sigma)

"""Occlusion: how much the cosine falls when a patch of the face is hidden.

Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", arXiv 1311.2901, ECCV
2014, with the cosine to the fixed other face in place of a class's score.

For patches m of K and the cosine c: S = Σ_m m·(c − c_m) ÷ Σ_m m, the mean fall over the patches
that cover a pixel. What lowers the cosine when it is hidden speaks for the match.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from fggb_jax.attribution.comparison import Comparison
from fggb_jax.attribution.perturbation import Fill, averaged, fill_of, hidden_cosines, patches
from fggb_jax.attribution.registry import face_method


@face_method("occlusion", "Occlusion", gradients=False)
def occlusion(
    c: Comparison,
    *,
    size: int | None = None,
    stride: int | None = None,
    fill: Fill = "blur",
    forwards: int | None = None,
) -> Float[np.ndarray, "H W"]:
    """The mean fall of the cosine over the patches that cover a pixel.

    Args:
        c: the image and what it is compared with.
        size: of the square patches, in pixels; a seventh of the image's height where None.
        stride: from patch to patch, in pixels; half the size where None.
        fill: what hides: see `fill_of`.
        forwards: at most that many forward passes a face, by a longer stride and, where that would
            leave gaps, larger patches; those of the size and the stride where None: 169 at 112.

    Raises:
        OptionError: an option that makes no sense, or fewer than 1 forward pass.
    """
    masks = patches(c.size, size, stride, forwards)
    return averaged(masks, c.cosine - hidden_cosines(c, masks, fill_of(c.image, fill)))

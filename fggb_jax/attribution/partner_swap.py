"""Partner swap: how the cosine changes where a patch of the face is the partner's own.

A method of this project. Both faces are aligned alike, so the same place is the same part of the
face. For patches m of K, with a soft edge, whose pixels are replaced by the partner's at the same
place:

    S = Σ_m m·(c − c_m) ÷ Σ_m m

A place whose replacement raises the cosine was what set the faces apart: it speaks against the
match and is negative. Where the faces agree already, what little the replacement changes, such as
pose and light that no longer fit their surroundings, lowers the cosine and is positive.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from fggb_jax.attribution.comparison import Comparison
from fggb_jax.attribution.options import whole
from fggb_jax.attribution.perturbation import averaged, hidden_cosines, patches, scaled
from fggb_jax.attribution.registry import face_method

SIZE, STRIDE, EDGE = 16, 8, 4  # pixels of 112


@face_method("partner_swap", "Partner swap", gradients=False)
def partner_swap(
    c: Comparison,
    *,
    size: int | None = None,
    stride: int | None = None,
    edge: int | None = None,
    forwards: int | None = None,
) -> Float[np.ndarray, "H W"]:
    """The mean fall of the cosine over the swapped patches that cover a pixel.

    Args:
        c: the image and what it is compared with.
        size: of the square patches, in pixels; 16 of 112 where None.
        stride: from patch to patch, in pixels; 8 of 112 where None.
        edge: how many pixels it takes from one face to the other; 4 of 112 where None, 0 is hard.
        forwards: at most that many forward passes a face, by a longer stride and, where that would
            leave gaps, larger patches; those of the size and the stride where None: 169 at 112.

    Raises:
        OptionError: an option that makes no sense, or fewer than 1 forward pass.
    """
    height, _ = c.size
    size = scaled(SIZE, height) if size is None else size
    stride = scaled(STRIDE, height) if stride is None else stride
    edge = scaled(EDGE, height) if edge is None else whole("edge", edge, 0)
    masks = patches(c.size, size, stride, forwards, edge)
    return averaged(masks, c.cosine - hidden_cosines(c, masks, c.partner))

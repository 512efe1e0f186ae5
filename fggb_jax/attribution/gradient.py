"""Gradient and input × gradient of the cosine.

Simonyan, Vedaldi, Zisserman, "Deep Inside Convolutional Networks", arXiv 1312.6034, 2013; Shrikumar
et al., "Not Just a Black Box", arXiv 1605.01713, 2016; of the cosine to the fixed other face.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from fggb_jax.attribution.comparison import Comparison
from fggb_jax.attribution.registry import face_method


@face_method("gradient", "Gradient", signed=False)
def gradient(c: Comparison) -> Float[np.ndarray, "H W"]:
    """The magnitude of the cosine's gradient, |∂cos/∂I| averaged over RGB."""
    return np.abs(c.gradient()).mean(-1)


@face_method("input_x_gradient", "Input × gradient")
def input_x_gradient(c: Comparison) -> Float[np.ndarray, "H W"]:
    """I · ∂cos/∂I, averaged over RGB: how the cosine would fall if a pixel were darkened."""
    return (np.asarray(c.image) * c.gradient()).mean(-1)

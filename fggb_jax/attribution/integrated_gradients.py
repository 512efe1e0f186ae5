"""Integrated Gradients of the cosine, from a face without its features to the face.

Sundararajan, Taly, Yan, "Axiomatic Attribution for Deep Networks", arXiv 1703.01365, ICML 2017. For
a baseline I₀ and n steps, with the gradient g of the cosine:

    S = Σ_RGB (I − I₀) · Σ_i g(I₀ + (i + ½)/n · (I − I₀)) / n

The midpoint rule's sum over the map tends to cos(I) − cos(I₀) as n grows: completeness.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fggb_jax.attribution.comparison import Comparison
from fggb_jax.attribution.options import whole
from fggb_jax.attribution.perturbation import Fill, fill_of
from fggb_jax.attribution.registry import face_method


@face_method("integrated_gradients", "Integrated Gradients")
def integrated_gradients(
    c: Comparison, *, steps: int = 32, baseline: Fill = "blur"
) -> Float[np.ndarray, "H W"]:
    """How much each pixel adds to the cosine on the way from the baseline; summed over RGB.

    Args:
        c: the image and what it is compared with.
        steps: points on the way at which the gradient is taken, the middles of equal parts.
        baseline: the face without its features, I₀: see `fill_of`. Black and grey give dark or
            grey pixels no weight, whatever they show; "blur" asks about detail alone.

    Raises:
        OptionError: no steps, another baseline.
    """
    whole("steps", steps, 1)
    start = fill_of(c.image, baseline)
    way = c.image - start

    def points(part: slice) -> Float[Array, "b H W 3"]:
        share = (np.arange(part.start, part.stop, dtype=np.float32) + 0.5) / steps
        return start[None] + jnp.asarray(share, way.dtype)[:, None, None, None] * way[None]

    total = np.zeros(c.image.shape, np.float32)
    for _, gradients in c.gradients(steps, points):
        total += np.asarray(gradients).sum(0)
    return (np.asarray(way) * total / steps).sum(-1)

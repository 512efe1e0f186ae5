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
    shares = (np.arange(steps, dtype=np.float32) + 0.5) / steps
    return added(c, fill_of(c.image, baseline), shares[:, None, None]).mean(0)


def added(
    c: Comparison, end: Float[Array, "H W 3"], shares: Float[np.ndarray, "K ? ?"]
) -> Float[np.ndarray, "K H W"]:
    """What pixels add over another image, to first order, at mixtures X of the two.

    Args:
        c: the image I, and what it is compared with.
        end: the other one, E.
        shares: how much of E is in each mixture, of all pixels or of each.

    Returns:
        Σ_RGB (I − E) · g(I + share·(E − I)) for each, with the gradient g of the cosine.
    """
    way = c.image - end

    def mixtures(part: slice) -> Float[Array, "b H W 3"]:
        return c.image[None] - jnp.asarray(shares[part])[..., None] * way[None]

    pulled = c.gradients(len(shares), mixtures)
    return np.concatenate([(np.asarray(way) * np.asarray(g)).sum(-1) for _, g in pulled])

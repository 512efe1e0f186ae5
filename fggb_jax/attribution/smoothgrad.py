"""SmoothGrad: the gradient of the cosine, averaged over noisy copies of the face.

Smilkov et al., "SmoothGrad: removing noise by adding noise", arXiv 1706.03825, 2017. For n draws ε
of Gaussian noise and the gradient g of the cosine:

    M = |Σ_i g(I + ε_i) / n|           "mean", as published
    M = √(Σ_i g(I + ε_i)² / n)         "square": SmoothGrad-Squared, its root

each averaged over RGB. The squares are of Hooker et al., arXiv 1806.10758, NeurIPS 2019: gradients
that point in opposite ways in two copies do not cancel.
"""

from __future__ import annotations

from typing import Literal, get_args

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fggb_jax.attribution.comparison import Comparison
from fggb_jax.attribution.options import not_negative, one_of, whole
from fggb_jax.attribution.registry import face_method

Average = Literal["mean", "square"]


@face_method("smoothgrad", "SmoothGrad", signed=False)
def smoothgrad(
    c: Comparison,
    *,
    samples: int = 32,
    noise: float = 0.15,
    average: Average = "mean",
    seed: int = 0,
) -> Float[np.ndarray, "H W"]:
    """The size of the mean gradient over noisy copies, ≥ 0.

    Args:
        c: the image and what it is compared with.
        samples: how many copies.
        noise: standard deviation of each pixel's noise, as a share of the range [0, 1]; the paper
            recommends 0.1 to 0.2. Copies are not clipped.
        average: "mean" of the gradients, or "square", their root mean square.
        seed: of the noise; the same seed gives the same copies, whatever the memory budget.

    Raises:
        OptionError: no samples, a negative noise or seed, another average.
    """
    whole("samples", samples, 1)
    not_negative("noise", noise)
    one_of("average", average, get_args(Average))
    whole("seed", seed, 0)

    def copies(part: slice) -> Float[Array, "b H W 3"]:
        return c.image[None] + jnp.asarray(noise * draws(c.image.shape, part, seed), c.image.dtype)

    total = np.zeros(c.image.shape, np.float32)
    for _, gradients in c.gradients(samples, copies):
        each = np.asarray(gradients)
        total += (each**2 if average == "square" else each).sum(0)
    return (np.sqrt(total / samples) if average == "square" else np.abs(total / samples)).mean(-1)


def draws(shape: tuple[int, ...], part: slice, seed: int) -> Float[np.ndarray, "b H W 3"]:
    """Standard Gaussian noise, each draw seeded by its own number: batches do not change it."""
    every = [np.random.default_rng([seed, i]) for i in range(part.start, part.stop)]
    return np.stack([rng.standard_normal(shape, np.float32) for rng in every])

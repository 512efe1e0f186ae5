"""Maps that know nothing of the pair, or nothing of the face: what a method has to beat."""

from __future__ import annotations

import hashlib
import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fggb_jax.attribution.comparison import Comparison
from fggb_jax.attribution.options import not_negative, whole
from fggb_jax.attribution.perturbation import BLUR, blurred
from fggb_jax.attribution.registry import face_method
from fggb_jax.attribution.walk import forward, plan_walk, sum_channels


@face_method("centre", "Distance to the centre", signed=False, gradients=False)
def centre(c: Comparison) -> Float[np.ndarray, "H W"]:
    """1 at the image's centre, 0 in its corners, and falling evenly with the distance."""
    across = [np.arange(n, dtype=np.float32) - (n - 1) / 2 for n in c.size]
    distance = np.hypot(across[0][:, None], across[1][None])
    return 1 - distance / max(distance.max(), 1)


@face_method("random", "Smooth random", signed=False, gradients=False)
def random(c: Comparison, *, sigma: float | None = None, seed: int = 0) -> Float[np.ndarray, "H W"]:
    """White noise, blurred and scaled to [0, 1]; another field for another image.

    Args:
        c: the image; its pixels and the seed decide the field, its partner does not.
        sigma: of the Gaussian blur, in pixels; a fourteenth of the image's height where None.
        seed: of the noise.

    Raises:
        OptionError: a negative sigma or seed.
    """
    sigma = BLUR * c.size[0] if sigma is None else sigma
    not_negative("sigma", sigma)
    whole("seed", seed, 0)
    digest = hashlib.sha256(np.ascontiguousarray(c.image).tobytes()).digest()
    rng = np.random.default_rng([seed, int.from_bytes(digest[:8], "little")])
    # Of a larger field the inside: with its edges repeated, noise is louder along them.
    margin = math.ceil(3 * sigma)
    height, width = (n + 2 * margin for n in c.size)
    noise = rng.standard_normal((height, width), np.float32)
    field = np.asarray(blurred(jnp.asarray(noise), sigma))
    field = field[margin : height - margin, margin : width - margin]
    low, high = field.min(), field.max()
    return (field - low) / (high - low)


@face_method("image_mean", "The image's own mean map", signed=False)
def image_mean(c: Comparison) -> Float[np.ndarray | Array, "H W"]:
    """FGGB's Q: the mean over the channels of their normalised gradient maps.

    It belongs to the image alone: neither its partner nor the threshold is asked. See `fggb`, with
    `gradient="magnitude"` and `embedding="raw"`.
    """
    plan = plan_walk(c.model, "raw", "magnitude", c.memory, c.image.dtype)
    z, steps = forward(c.model, c.image, plan, "raw", "magnitude")
    count = len(z)
    seeds, mean = jnp.eye(count, dtype=z.dtype), jnp.full((1, count), 1 / count, z.dtype)
    shape = c.image.shape
    (q,) = sum_channels(steps, seeds, mean, shape, plan, "magnitude", c.progress)
    c.forwards += 1
    c.backwards += count
    return q

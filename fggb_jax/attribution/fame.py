"""FAME: how a face must be repainted to lose its match, and to gain it.

Zhang, Günther, "FAME: Feature Activation Map Explanation on Image Classification and Face
Recognition", arXiv 2605.12017, CVPR Workshops 2026, with the steps of LOTS (Rozsa, Günther, Boult,
"LOTS about attacking deep features", arXiv 1611.06179, IJCB 2017). From x = I, with the gradient g
of the cosine at x,

    x ← x ∓ step · g / max|g|

until the cosine is within `stop` of 0 (−) or of 1 (+), or for `steps` steps. Each way gives a map

    e = Gaussian blur of |grey(x) − grey(I)|

What has to be repainted to lose the match speaks for it: e⁺, of the steps down. What has to be
repainted to gain it speaks against it: e⁻, of the steps up. S = e⁺ − e⁻.

The first step up and the first down mark the same pixels: the two maps part only as g turns on the
way, and are much alike. `part` gives one of them alone, as it was published. Published maps are
scaled to [0, 1]; here they stay in grey levels, for their sizes say whether there is more to lose
than to gain.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fggb_jax.attribution.comparison import Comparison
from fggb_jax.attribution.options import not_negative, one_of, whole
from fggb_jax.attribution.perturbation import blurred
from fggb_jax.attribution.registry import face_method

Part = Literal["both", "similarity", "dissimilarity"]

GREY = np.array([0.299, 0.587, 0.114], np.float32)  # of ITU-R BT.601
SIGMA = 7.7 / 112  # of the image's height


@face_method("fame", "FAME")
def fame(
    c: Comparison,
    *,
    part: Part = "both",
    steps: int = 200,
    step: float = 1 / 255,
    stop: float = 0.01,
    sigma: float | None = None,
    forwards: int | None = None,
) -> Float[np.ndarray, "H W"]:
    """Where the face is repainted to lose its match, less where to gain one; grey levels in [0, 1].

    Args:
        c: the image and what it is compared with.
        part: "both", e⁺ − e⁻; "similarity", e⁺; or "dissimilarity", −e⁻.
        steps: the most steps each way. The authors take 500, and find maps stable from 75 to 200
            on; `stop` ends most ways before.
        step: how far the strongest pixel moves, in [0, 1]; pixels are not clipped. (The authors
            step in the network's own units, where 1/255 is mostly half as far.)
        stop: a way ends where the cosine is that near to its end; as in the authors' code.
        sigma: of the blur, in pixels, edges repeated; where None theirs, 7.7 in a face of 112, and
            in proportion in another.
        forwards: at most so many passes, of both ways together, by fewer and longer steps that
            lead as far: a step is two, there and back. `steps` of `step` where None.

    Returns:
        (H, W). A way that has no step to go gives 0: there is no match to lose where the cosine is
        below `stop`, and none to gain between equal images.

    Raises:
        OptionError: another part, no steps, a negative step, stop or sigma, or less than a step
            for each way.
    """
    sigma = SIGMA * c.size[0] if sigma is None else sigma
    one_of("part", part, get_args(Part))
    whole("steps", steps, 1)
    for name, value in (("step", step), ("stop", stop), ("sigma", sigma)):
        not_negative(name, value)

    signs = {"both": (-1, 1), "similarity": (-1,), "dissimilarity": (1,)}[part]
    if forwards is not None:
        a_step = 2 * len(signs)  # passes, there and back
        fewer = min(whole("forwards", forwards, a_step) // a_step, steps)
        steps, step = fewer, step * steps / fewer
    total = np.zeros(c.size, np.float32)
    for sign, after in _walked(c, signs, steps, step, stop).items():
        change = np.abs((np.asarray(after) - np.asarray(c.image)) @ GREY)
        total -= sign * np.asarray(blurred(jnp.asarray(change), sigma))
    return total


def _walked(
    c: Comparison, signs: Sequence[int], steps: int, step: float, stop: float
) -> dict[int, Float[Array, "H W 3"]]:
    """The face after steps that raise the cosine, or lower it: sign → face.

    Both ways go step by step together, since two images are differentiated sooner than one twice.
    """
    faces, going = dict.fromkeys(signs, c.image), list(signs)
    for _ in range(steps):
        images = jnp.stack([faces[sign] for sign in going])
        ((cosines, gradients),) = c.gradients(len(going), lambda part, x=images: x[part])
        found = zip(list(going), cosines, np.asarray(gradients), strict=True)
        for sign, cosine, gradient in found:
            loss = 1 - cosine if sign > 0 else cosine
            largest = np.abs(gradient).max()
            if loss < stop or not largest > 0:
                going.remove(sign)
            else:
                change = np.float32(sign * step) * (gradient / largest)
                faces[sign] = faces[sign] + jnp.asarray(change)
        if not going:
            break
    return faces

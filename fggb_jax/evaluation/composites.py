"""Pairs that differ, or agree, in one known region only: what an explanation has to find.

Of a genuine pair (A, B) and another person's face C, a region of A is replaced from C. This
composite A' differs from B as A does, but for the region; and it has nothing of C but the region.
So the region is why A' is less like B, and why it is like C at all.

The region is drawn at random, or a map of the distance to the centre would find it. Even so the
centre lies in more regions than the corners, since all are wholly in the image, and such a map
reaches 0.28 in `localization`'s auprc where the chance is 0.10: compare with it. The region is
blended in seamlessly, since an edge would be found for being an edge; around it A' is A to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from fggb_jax.attribution.perturbation import blurred
from fggb_jax.errors import OptionError
from fggb_jax.evaluation.blending import seamless
from fggb_jax.evaluation.judgement import Case
from fggb_jax.evaluation.once import once

Blend = Literal["seamless", "soft"]

AREA = (0.05, 0.15)  # the region's share of the image
STRETCH = 2.0  # its height is between a half and twice its width
EDGE = 2 / 112  # σ of a soft edge, as a share of the image's height


@dataclass(frozen=True, eq=False)
class Composite:
    """A face of which one region is another person's.

    Attributes:
        image: (H, W, 3) float32 in [0, 1]; outside of the region it is the first person's face.
        region: (H, W), true where the other person is seen.
    """

    image: Float[np.ndarray, "H W 3"]
    region: Bool[np.ndarray, "H W"]

    @property
    def area(self) -> float:
        """The region's share of the image: what a map that knows nothing finds."""
        return float(self.region.mean())


def composite(case: Case, blend: Blend = "seamless") -> Composite:
    """The case's probe with a random region of `case.others[0]`, the same one for all methods.

    Args:
        case: a pair; its probe is changed.
        blend: "seamless", by Poisson cloning (`blending.seamless`), or "soft", mixed over a few
            pixels within the region, which leaves the other face's colours.

    Raises:
        OptionError: another blend.
    """
    if blend not in get_args(Blend):
        raise OptionError(f"blend is {blend!r}; choose one of {', '.join(get_args(Blend))}")
    # Blending takes longer than many a map.
    return once(case, ("ground_truth", blend), lambda: _composite(case, blend))


def _composite(case: Case, blend: Blend) -> Composite:
    height, width = case.probe.shape[:2]
    region = draw_region(case.rng("ground_truth"), (height, width))
    mix = seamless if blend == "seamless" else soft
    return Composite(mix(case.probe, case.others[0], region), region)


def draw_region(
    rng: np.random.Generator, size: tuple[int, int], area: tuple[float, float] = AREA
) -> Bool[np.ndarray, "H W"]:
    """A rectangle or an ellipse that lies wholly in the image, anywhere in it with equal chance.

    Args:
        rng: draws kind, area, stretch and place.
        size: (H, W).
        area: the least and the most of its share of the image, to the rounding of its sides.
    """
    ellipse = rng.random() < 0.5
    share, stretch = rng.uniform(*area), STRETCH ** rng.uniform(-1, 1)
    # The box of an ellipse is larger than the ellipse.
    box = np.sqrt(share * (4 / np.pi if ellipse else 1)) * np.sqrt([stretch, 1 / stretch])
    sides = np.clip(np.rint(box * size), 1, size).astype(int)
    start = rng.integers(0, np.array(size) - sides + 1)
    # Pixel centres, −1 … 1 from edge to edge of the box.
    y, x = (
        (np.arange(n) - first + 0.5) / (side / 2) - 1
        for n, first, side in zip(size, start, sides, strict=True)
    )
    if ellipse:
        return y[:, None] ** 2 + x**2 <= 1
    return (np.abs(y) < 1)[:, None] & (np.abs(x) < 1)


def soft(
    target: Float[np.ndarray, "H W 3"],
    source: Float[np.ndarray, "H W 3"],
    mask: Bool[np.ndarray, "H W"],
) -> Float[np.ndarray, "H W 3"]:
    """The source where the mask is, fading into the target before its boundary.

    Args:
        target: float32 in [0, 1]; it remains, to the bit, where the mask is false.
        source: likewise.
        mask: where the source goes.
    """
    near = np.asarray(
        blurred(jnp.asarray(mask, jnp.float32), EDGE * len(mask))
    )  # ½ at the boundary
    weight = np.clip(2 * near - 1, 0, 1)[..., None]
    return np.where(mask[..., None], target + weight * (source - target), target)

"""CorrRISE: how the cosine goes with a pixel being seen, over random masks.

Lu, Xu and Ebrahimi, "Towards Visual Saliency Explanations of Face Verification", arXiv 2305.08546,
WACV 2024.

For masks m of what is seen and their cosines c_m, S is for every pixel the correlation of m and c_m
over the masks; S⁺ = max(S, 0) is similarity, S⁻ = max(−S, 0) dissimilarity. Two recipes are in use:

- "patches": masks with three black patches of 30×30 pixels of 112, and Spearman's correlation, as
  the authors of FAME run it. The seen-or-not of a pixel has two values, whose ranks are two values
  too, so it is Pearson's correlation with the ranks of the cosines; equal cosines share their rank.
- "grid": RISE's grids, 12 cells a side of which a tenth is hidden, and Pearson's correlation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float

from fggb_jax.attribution.comparison import Comparison
from fggb_jax.attribution.options import one_of, whole, within
from fggb_jax.attribution.perturbation import (
    Fill,
    Masks,
    affordable,
    fill_of,
    hidden_cosines,
    quotient,
    scaled,
    total,
)
from fggb_jax.attribution.registry import face_method
from fggb_jax.attribution.rise import random_grids

Recipe = Literal["patches", "grid"]

PATCH = 30  # pixels of 112


@face_method("corrrise", "CorrRISE", gradients=False)
def corrrise(
    c: Comparison,
    *,
    recipe: Recipe = "patches",
    masks: int = 500,
    patches: int = 3,
    size: int | None = None,
    cells: int = 12,
    drop: float = 0.1,
    fill: Fill = "black",
    seed: int = 0,
    forwards: int | None = None,
) -> Float[np.ndarray, "H W"]:
    """The correlation of a pixel's being seen with the cosine.

    Args:
        c: the image and what it is compared with.
        recipe: "patches" or "grid".
        masks: how many, a forward pass each.
        patches: of a mask; by the recipe "patches".
        size: of the patches, in pixels; 30 of 112 where None; by the recipe "patches".
        cells: of the grid, along each side; by the recipe "grid".
        drop: the share of cells that are hidden; by the recipe "grid".
        fill: what hides: see `fill_of`.
        seed: of the masks, the same for both faces of a pair.
        forwards: at most that many forward passes a face; `masks` where None.

    Returns:
        (H, W) in [−1, 1], 0 where a pixel was never hidden or never seen.

    Raises:
        OptionError: an option that makes no sense, or fewer than 2 forward passes.
    """
    one_of("recipe", recipe, get_args(Recipe))
    count = affordable(masks, forwards, "masks", 2)
    if recipe == "grid":
        keep = 1 - within("drop", drop, 0, 1)
        chosen = random_grids(c.size, count, cells, keep, seed)
        return correlation(chosen, hidden_cosines(c, chosen, fill_of(c.image, fill)))
    chosen = random_patches(c.size, count, patches, size, seed)
    return correlation(chosen, ranks(hidden_cosines(c, chosen, fill_of(c.image, fill))))


@dataclass(frozen=True)
class Patchwork:
    """Masks of several rectangles each, 1 where one of them hides.

    Attributes:
        rows: of each rectangle.
        columns: of each rectangle.
    """

    rows: Bool[np.ndarray, "K P H"]
    columns: Bool[np.ndarray, "K P W"]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice) -> Float[np.ndarray, "b H W"]:
        each = self.rows[part, :, :, None] & self.columns[part, :, None, :]
        return np.asarray(each.any(1), np.float32)


def random_patches(
    shape: tuple[int, int], count: int, patches: int, size: int | None, seed: int
) -> Patchwork:
    """Masks of square patches anywhere inside the image, where they may overlap.

    Args:
        shape: (H, W).
        count: how many masks.
        patches: of each mask.
        size: of the patches, in pixels; 30 of 112 where None.
        seed: of NumPy's default generator.

    Raises:
        OptionError: no patches, or a size that is not in the image.
    """
    patches = whole("patches", patches, 1)
    size = whole("size", scaled(PATCH, shape[0]) if size is None else size, 1, min(shape))
    rng = np.random.default_rng(whole("seed", seed, 0))
    corners = rng.integers(0, np.array(shape) - size + 1, (count, patches, 2))
    sides = []
    for axis, length in enumerate(shape):
        off = np.arange(length) - corners[..., axis, None]
        sides.append((off >= 0) & (off < size))
    return Patchwork(*sides)


def ranks(values: Float[np.ndarray, "*S"]) -> Float[np.ndarray, " K"]:
    """The rank of each value, from 1, of ties the mean of theirs; flat."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[which.ravel()]


def correlation(masks: Masks, values: Float[np.ndarray, " K"]) -> Float[np.ndarray, "H W"]:
    """Pearson's, of a pixel's being seen with the values; 0 where a pixel never varies."""
    count, ones = len(masks), np.ones(len(masks))
    centred = values - np.mean(values, dtype=np.float64)
    means = total(masks, ones) / count
    spread = total(masks, ones, np.square) / count - means**2
    varies = spread > 1e-6  # the masks are float32
    scale = np.sqrt(spread.clip(min=0) * np.mean(centred**2))
    # The mean of equal values need not be these values to the last bit.
    varies &= values.max() > values.min()
    return np.clip(quotient(total(masks, -centred) / count, scale, varies), -1, 1)

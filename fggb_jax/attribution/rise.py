"""RISE: random coarse grids hide the face, and the cosines say which of its parts were missed.

Petsiuk, Das and Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models",
arXiv 1806.07421, BMVC 2018, with the cosine to the fixed other face in place of a class's score.

Grids of cells are kept or hidden at random, enlarged bilinearly and shifted at random to masks m of
what is seen. The published map E[c_m·m] ÷ E[m], the mean cosine where a pixel is seen, has the mean
cosine of all masks for a pedestal and so no sign. Here the mean where the pixel is hidden is taken
off it:

    S = Σ_m m·c_m ÷ Σ_m m − Σ_m (1 − m)·c_m ÷ Σ_m (1 − m)

so what raises the cosine by being seen is positive and speaks for the match. `srise` keeps the
published expectation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from fggb_jax.attribution.comparison import Comparison
from fggb_jax.attribution.options import whole, within
from fggb_jax.attribution.perturbation import (
    Fill,
    affordable,
    fill_of,
    hidden_cosines,
    quotient,
    total,
)
from fggb_jax.attribution.registry import face_method

EMPTY = 1e-6  # of a sum of masks, which are float32


@face_method("rise", "RISE", gradients=False)
def rise(
    c: Comparison,
    *,
    masks: int = 500,
    cells: int = 7,
    keep: float = 0.5,
    fill: Fill = "black",
    seed: int = 0,
    forwards: int | None = None,
) -> Float[np.ndarray, "H W"]:
    """The mean cosine where a pixel is seen less that where it is hidden.

    Args:
        c: the image and what it is compared with.
        masks: how many, a forward pass each.
        cells: of the grid, along each side; the paper's 7.
        keep: the share of cells that are seen.
        fill: what hides, the paper's black: see `fill_of`.
        seed: of the masks.
        forwards: at most that many forward passes a face; `masks` where None.

    Returns:
        (H, W), 0 where a pixel was never hidden or never seen.

    Raises:
        OptionError: an option that makes no sense, or fewer than 2 forward passes.
    """
    count = affordable(masks, forwards, "masks", 2)
    found = sums(c, random_grids(c.size, count, cells, keep, seed), fill)
    varies = (found.covered > EMPTY) & (found.uncovered > EMPTY)
    return found.mean_seen(varies) - quotient(found.hidden, found.covered, varies)


class Sums(NamedTuple):
    """Of the cosines of RISE's masks, each (H, W) in float64.

    Attributes:
        uncovered: Σ m of what is seen.
        seen: Σ m·c_m.
        covered: Σ (1 − m).
        hidden: Σ (1 − m)·c_m.
    """

    uncovered: np.ndarray
    seen: np.ndarray
    covered: np.ndarray
    hidden: np.ndarray

    def mean_seen(self, where: Bool[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
        """The mean cosine where a pixel is seen; 0 elsewhere than `where`."""
        return quotient(self.seen, self.uncovered, where)


def sums(c: Comparison, grids: Grids, fill: Fill) -> Sums:
    """What `rise` and `srise` are made of, a forward pass a mask."""
    values = hidden_cosines(c, grids, fill_of(c.image, fill))
    covered, hidden = total(grids, np.ones(len(grids))), total(grids, values)
    seen = values.sum(dtype=np.float64) - hidden
    return Sums(len(grids) - covered, seen, covered, hidden)


@dataclass(frozen=True)
class Grids:
    """Coarse grids, enlarged and shifted: masks of what is hidden.

    Attributes:
        cells: 1 where a cell is hidden.
        shifts: of each mask, in pixels down and to the right.
        ramps: for each axis and each shift, how much of every cell is in a pixel.
    """

    cells: Float[np.ndarray, "K s s"]
    shifts: Int[np.ndarray, "K 2"]
    ramps: tuple[Float[np.ndarray, "n H s"], Float[np.ndarray, "n W s"]]

    def __len__(self) -> int:
        return len(self.cells)

    def __getitem__(self, part: slice) -> Float[np.ndarray, "b H W"]:
        down, right = (ramp[i] for ramp, i in zip(self.ramps, self.shifts[part].T, strict=True))
        masks = down @ self.cells[part] @ right.transpose(0, 2, 1)
        # Rounding must not make a pixel darker than black.
        return np.clip(masks, 0, 1)


def random_grids(shape: tuple[int, int], count: int, cells: int, keep: float, seed: int) -> Grids:
    """Masks of RISE.

    Args:
        shape: (H, W).
        count: how many.
        cells: along each side.
        keep: the probability that a cell is seen, between 0 and 1.
        seed: of NumPy's default generator.

    Raises:
        OptionError: more cells than pixels, or a share that is not between 0 and 1.
    """
    cells = whole("cells", cells, 1, min(shape))
    within("keep", keep, 0, 1)
    rng = np.random.default_rng(whole("seed", seed, 0))
    hidden = (rng.random((count, cells, cells)) >= keep).astype(np.float32)
    strides = [math.ceil(n / cells) for n in shape]
    shifts = rng.integers(0, strides, (count, 2))
    height, width = shape
    return Grids(hidden, shifts, (_ramps(height, cells), _ramps(width, cells)))


def _ramps(length: int, cells: int) -> Float[np.ndarray, "n L s"]:
    """Bilinear enlargement of a row of cells to one pixel span more than the image, by shift."""
    stride = math.ceil(length / cells)
    pixels = np.arange(stride)[:, None] + np.arange(length)
    places = (pixels + 0.5) * cells / ((cells + 1) * stride) - 0.5
    off = places.clip(0, cells - 1)[..., None] - np.arange(cells)
    return (1 - np.abs(off)).clip(min=0).astype(np.float32)

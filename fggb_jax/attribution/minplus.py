"""MinPlus: Gaussian spots taken from the face, and put on an empty one, alone and one by one.

Mery, "True Black-Box Explanation in Facial Analysis", CVPR Workshops 2022. The paper's text was not
at hand: the four maps and their average are second-hand, and what is left open is an option or said
here.

For Gaussian spots m on a grid, Δ_m is how the cosine changes by a spot:

- "removal": how it falls when the spot is hidden.
- "iterative_removal": likewise, with the spots that cost most already hidden. In each of the steps
  the spot whose removal costs most is hidden for good; a spot counts with what it cost in its own
  turn, or in the last step where it had none.
- "aggregation": how it rises when the spot alone is seen, of an else hidden face.
- "iterative_aggregation": likewise, with the spots that gain most already seen.
- "average": the mean of the four maps, all of them differences of cosines. The first steps of the
  iterative ones are the other two.

Each map is S = Σ_m m·Δ_m ÷ Σ_m m. What the cosine loses without it, or gains with it, speaks for
the match.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import Literal, get_args

import numpy as np
from jaxtyping import Array, Float

from fggb_jax.attribution.comparison import Comparison
from fggb_jax.attribution.options import one_of, whole, within
from fggb_jax.attribution.perturbation import (
    ALIGNED,
    Fill,
    Outer,
    averaged,
    fill_of,
    hidden,
    scaled,
)
from fggb_jax.attribution.registry import face_method
from fggb_jax.errors import OptionError

Mode = Literal["average", "removal", "iterative_removal", "aggregation", "iterative_aggregation"]

SIGMA = STRIDE = 10  # pixels of 112


@face_method("minplus", "MinPlus", gradients=False)
def minplus(
    c: Comparison,
    *,
    mode: Mode = "average",
    sigma: float | None = None,
    stride: int | None = None,
    steps: int = 5,
    fill: Fill = "black",
    forwards: int | None = None,
) -> Float[np.ndarray, "H W"]:
    """How the cosine changes by the Gaussian spots that cover a pixel.

    Args:
        c: the image and what it is compared with.
        mode: "average", or one of the maps that it is of.
        sigma: of the spots, in pixels; 10 of 112 where None.
        stride: of their grid, in pixels; 10 of 112 where None.
        steps: of the iterative maps, each as many forward passes as there are spots.
        fill: what hides, and what an empty face is: see `fill_of`.
        forwards: at most that many forward passes a face, by fewer steps and then by a longer
            stride; those of the stride and the steps where None: 1,441 at 112 for "average".

    Raises:
        OptionError: an option that makes no sense, or fewer passes than one spot needs.
    """
    one_of("mode", mode, get_args(Mode))
    spots, steps = _affordable(c.size, sigma, stride, whole("steps", steps, 1), mode, forwards)
    hides, changes = fill_of(c.image, fill), []
    if mode in ("average", "removal", "iterative_removal"):
        changes += _changes(c, spots, hides, steps, mode, adding=False)
    if mode in ("average", "aggregation", "iterative_aggregation"):
        changes += _changes(c, spots, hides, steps, mode, adding=True)
    return averaged(spots, np.mean(changes, 0))


def _affordable(
    shape: tuple[int, int],
    sigma: float | None,
    stride: int | None,
    steps: int,
    mode: Mode,
    forwards: int | None,
) -> tuple[Outer, int]:
    """The spots, and the number of steps."""
    sigma = within("sigma", SIGMA * shape[0] / ALIGNED if sigma is None else sigma, 0, math.inf)
    stride = whole("stride", scaled(STRIDE, shape[0]) if stride is None else stride, 1)
    steps = steps if mode == "average" or mode.startswith("iterative") else 1
    most = math.inf if forwards is None else whole("forwards", forwards, _cost(1, 1, mode))
    while _cost(_count(shape, stride), steps, mode) > most:
        steps, stride = (steps - 1, stride) if steps > 1 else (1, stride + 1)
    rows, columns = np.array(list(product(*(_centres(n, stride) for n in shape)))).T
    spots = Outer(_bells(shape[0], rows, sigma), _bells(shape[1], columns, sigma))
    if steps > len(spots):
        raise OptionError(f"steps is {steps}; there are {len(spots)} spots: give fewer steps")
    return spots, steps


def _cost(count: int, steps: int, mode: Mode) -> int:
    """Forward passes; an empty face is one."""
    ways = 2 if mode == "average" else 1
    return ways * count * steps + (mode not in ("removal", "iterative_removal"))


def _count(shape: tuple[int, int], stride: int) -> int:
    return math.prod(-(-n // stride) for n in shape)


def _centres(length: int, stride: int) -> Float[np.ndarray, " n"]:
    """The middles of equal parts, no longer than a stride."""
    count = -(-length // stride)
    return (np.arange(count) + 0.5) * length / count


def _bells(length: int, centres: Float[np.ndarray, " K"], sigma: float) -> np.ndarray:
    off = (np.arange(length) + 0.5 - centres[:, None]) / sigma
    return np.exp(-0.5 * off**2).astype(np.float32)


def _changes(
    c: Comparison, spots: Outer, hides: Array, steps: int, mode: Mode, adding: bool
) -> list[Float[np.ndarray, " K"]]:
    """What each spot changes, alone and in its turn, as far as the mode asks."""
    alone, in_turn = _greedy(c, spots, hides, steps, adding)
    if mode == "average":
        return [alone, in_turn]
    return [in_turn if mode.startswith("iterative") else alone]


def _greedy(
    c: Comparison, spots: Outer, hides: Array, steps: int, adding: bool
) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, " K"]]:
    """What each spot changes in the first step, and in its turn or, without one, in the last."""
    rest = np.ones(c.size, np.float32)  # of the face: not yet removed, or not yet added
    before = _cosines(c, 1, hides, lambda part: rest[None])[0] if adding else c.cosine
    free, changes = np.ones(len(spots), bool), []
    in_turn = np.zeros(len(spots))
    for _ in range(steps):
        # All spots each time, also those that had their turn: one shape, compiled once.
        left = _left(rest, spots, adding)
        after = _cosines(c, len(spots), hides, left)
        changes.append(after - before if adding else before - after)
        in_turn[free] = changes[-1][free]
        best = int(np.argmax(np.where(free, changes[-1], -np.inf)))
        free[best], before = False, after[best]
        rest = rest * (1 - spots[best : best + 1][0])
    return changes[0], in_turn


def _left(
    rest: Float[np.ndarray, "H W"], spots: Outer, adding: bool
) -> Callable[[slice], Float[np.ndarray, "b H W"]]:
    """What is hidden with one more spot: all but what is added, or what is removed."""
    if adding:
        return lambda part: rest * (1 - spots[part])
    return lambda part: 1 - rest * (1 - spots[part])


def _cosines(
    c: Comparison, count: int, hides: Array, masks: Callable[[slice], np.ndarray]
) -> Float[np.ndarray, " K"]:
    return c.cosines(count, lambda part: hidden(c.image, masks(part), hides))

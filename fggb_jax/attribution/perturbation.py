"""What methods that hide parts of a face have in common: masks, fills, averages, budgets."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, Protocol, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from fggb_jax.attribution.comparison import Comparison
from fggb_jax.attribution.options import whole
from fggb_jax.errors import OptionError
from fggb_jax.gaussian import matrix

Fill = Literal["black", "grey", "mean", "blur"] | float

ALIGNED = 112  # pixels: the height of the faces for which papers give their sizes in pixels
BLUR = 1 / 14  # of the image's height: 8 pixels of 112
PART = 64  # masks that are added up at once


class Masks(Protocol):
    """Masks that are made when they are asked for: a thousand of a large face would fill memory.

    A slice of them is (b, H, W) float32, how much of each pixel is hidden, from 0, nothing, to 1;
    the same whatever the slices.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice) -> Float[np.ndarray, "b H W"]: ...


@dataclass(frozen=True)
class Outer:
    """Masks that are the product of a function of the row and one of the column.

    Attributes:
        rows: (K, H), in [0, 1].
        columns: (K, W), likewise.
    """

    rows: Float[np.ndarray, "K H"]
    columns: Float[np.ndarray, "K W"]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice) -> Float[np.ndarray, "b H W"]:
        return self.rows[part, :, None] * self.columns[part, None, :]


def hidden_cosines(c: Comparison, masks: Masks, fill: Any) -> Float[np.ndarray, " K"]:
    """The cosine of the image where parts of it are hidden.

    Args:
        c: the image and what it is compared with.
        masks: how much of each pixel is hidden.
        fill: what is seen in its place, (H, W, 3) or a number.
    """
    fill = jnp.asarray(fill, c.image.dtype)
    return c.cosines(len(masks), lambda part: hidden(c.image, masks[part], fill))


@jax.jit
def hidden(
    image: Float[Array, "H W 3"], masks: Float[Array, "b H W"], fill: Array
) -> Float[Array, "b H W 3"]:
    """An image with parts of it hidden by a fill, once for each mask."""
    seen = 1 - masks[..., None]
    return seen * image[None] + (1 - seen) * jnp.broadcast_to(fill, image.shape)[None]


def affordable(count: int, forwards: int | None, what: str, least: int = 1) -> int:
    """How many of something there are, one forward pass each.

    Args:
        count: as many as the recipe has.
        forwards: as many at most, or None.
        what: they are.
        least: that the method needs.

    Raises:
        OptionError: fewer than that.
    """
    count = whole(what, count, least)
    return count if forwards is None else min(count, whole("forwards", forwards, least))


def scaled(pixels: float, height: int) -> int:
    """A length that a paper gives in pixels of a face of 112, in those of a face of this height."""
    return max(1, round(pixels * height / ALIGNED))


def fill_of(image: Float[Array, "H W 3"], fill: Fill) -> Float[Array, "H W 3"]:
    """What is seen where a face is hidden.

    Args:
        image: the face.
        fill: "black", "grey" (0.5), "mean" (the image's own mean colour), "blur" (the image blurred
            by a Gaussian, σ a fourteenth of its height: no edge is added, only detail is lost), or
            a number in [0, 1].

    Raises:
        OptionError: another fill.
    """
    if fill == "blur":
        return blurred(image, BLUR * image.shape[0])
    if fill == "mean":
        return jnp.broadcast_to(image.mean((0, 1)), image.shape)
    value = {"black": 0.0, "grey": 0.5}.get(fill, fill) if isinstance(fill, str) else fill
    if not (isinstance(value, int | float) and 0 <= value <= 1):
        names = ", ".join(get_args(get_args(Fill)[0]))
        raise OptionError(f"fill is {fill!r}; choose one of {names}, or a number in [0, 1]")
    return jnp.full_like(image, value)


def blurred(values: Float[Array, "H W *C"], sigma: float) -> Float[Array, "H W *C"]:
    """A Gaussian blur over the first two axes, edges repeated; σ in pixels."""
    values = jnp.asarray(values)
    if sigma <= 0:
        return values
    for axis in (0, 1):
        weights = jnp.asarray(matrix(values.shape[axis], sigma, "repeated", 3), values.dtype)
        values = jnp.moveaxis(jnp.tensordot(weights, values, [[1], [axis]]), 0, axis)
    return values


def patches(
    shape: tuple[int, int],
    size: int | None = None,
    stride: int | None = None,
    forwards: int | None = None,
    edge: int = 0,
) -> Outer:
    """Square patches on a grid that covers the image, its edges included, 1 where they hide.

    Args:
        shape: (H, W).
        size: in pixels; a seventh of the height where None.
        stride: half the size where None; lengthened until there are no more than `forwards`.
        forwards: the most patches, or None. Where their stride becomes longer than they are they
            grow to it, so that no pixel is left out.
        edge: how many pixels a patch takes to fade, half of them outside it.

    Raises:
        OptionError: a size that is not in the image, a stride below 1, fewer forwards than the
            largest squares need to reach all edges: 1, or 2 where H is not W.
    """
    size = max(1, shape[0] // 7) if size is None else whole("size", size, 1, min(shape))
    stride = max(1, size // 2) if stride is None else whole("stride", stride, 1)
    # The largest square leaves a rest of an image that is not square.
    least = 1 if shape[0] == shape[1] else 2
    most = math.inf if forwards is None else whole("forwards", forwards, least)
    while math.prod(_steps(n, size, stride) for n in shape) > most:
        stride += 1
        size = min(max(size, stride), *shape)
    starts = [np.rint(np.linspace(0, n - size, _steps(n, size, stride))) for n in shape]
    return windows(shape, np.array(list(product(*starts))), size, edge)


def _steps(length: int, size: int, stride: int) -> int:
    return -(-(length - size) // stride) + 1


def windows(
    shape: tuple[int, int],
    corners: Int[np.ndarray, "K 2"] | Float[np.ndarray, "K 2"],
    size: int | Int[np.ndarray, " K"],
    edge: int = 0,
) -> Outer:
    """Squares, 1 where they hide.

    Args:
        shape: (H, W).
        corners: the first row and column of each.
        size: of their sides, of all or of each, in pixels.
        edge: how many pixels it takes from 1 to 0 at each side, half of them outside.
    """
    half, ramp = np.asarray(size) / 2, max(1, edge)
    sides = []
    for length, first in zip(shape, corners.T, strict=True):
        off = np.abs(np.arange(length) + 0.5 - (first + half)[:, None])
        inside = np.broadcast_to(half, first.shape)[:, None] - off
        sides.append(np.clip(inside / ramp + 0.5, 0, 1).astype(np.float32))
    return Outer(*sides)


def averaged(masks: Masks, values: Float[np.ndarray, " K"]) -> Float[np.ndarray, "H W"]:
    """The mean of the values of the masks that cover a pixel; 0 where none does."""
    return quotient(total(masks, values), total(masks, np.ones(len(masks))))


def total(
    masks: Masks,
    values: Float[np.ndarray, " K"],
    of: Callable[[np.ndarray], np.ndarray] = lambda masks: masks,
) -> Float[np.ndarray, "H W"]:
    """Σ of the values times the masks, or times a function of them; in float64."""
    sums = 0.0
    for start in range(0, len(masks), PART):
        part = slice(start, start + PART)
        sums = sums + np.tensordot(values[part].astype(np.float64), of(masks[part]), 1)
    return np.asarray(sums)


def quotient(
    numerator: Float[np.ndarray, "H W"],
    denominator: Float[np.ndarray, "H W"],
    where: Bool[np.ndarray, "H W"] | None = None,
) -> Float[np.ndarray, "H W"]:
    """One over the other; 0 where the other is 0, or not `where`."""
    where = denominator > 0 if where is None else where
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=where)

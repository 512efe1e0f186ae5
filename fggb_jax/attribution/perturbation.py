"""What methods that hide parts of a face have in common: masks, fills, averages."""

from __future__ import annotations

import math
from typing import Literal, get_args

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fggb_jax.errors import OptionError

Fill = Literal["black", "grey", "mean", "blur"] | float

BLUR = 1 / 14  # of the image's height: 8 pixels of 112


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
    return _blurred(jnp.asarray(values), float(sigma)) if sigma > 0 else jnp.asarray(values)


def _kernel(sigma: float) -> np.ndarray:
    reach = max(1, math.ceil(3 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return (weights / weights.sum()).astype(np.float32)


def _blurred(values: Array, sigma: float) -> Array:
    """Along one axis and then the other, each a product with a matrix of shifted kernels."""
    for axis in (0, 1):
        matrix = jnp.asarray(_blur_matrix(values.shape[axis], sigma), values.dtype)
        values = jnp.moveaxis(jnp.tensordot(matrix, values, [[1], [axis]]), 0, axis)
    return values


def _blur_matrix(length: int, sigma: float) -> np.ndarray:
    kernel = _kernel(sigma)
    reach = len(kernel) // 2
    matrix = np.zeros((length, length), np.float32)
    sources = np.clip(np.arange(length)[:, None] + np.arange(-reach, reach + 1), 0, length - 1)
    np.add.at(matrix, (np.arange(length)[:, None], sources), np.broadcast_to(kernel, sources.shape))
    return matrix


def patches(
    shape: tuple[int, int],
    size: int | None = None,
    stride: int | None = None,
    forwards: int | None = None,
) -> Float[np.ndarray, "K H W"]:
    """Square patches on a grid that covers the image, its edges included, 1 where they hide.

    Args:
        shape: (H, W).
        size: in pixels; a seventh of the height where None.
        stride: half the size where None; lengthened until there are no more than `forwards`.
        forwards: the most patches, or None.

    Raises:
        OptionError: a size that is not in the image, a stride below 1.
    """
    size = max(1, shape[0] // 7) if size is None else size
    stride = max(1, size // 2) if stride is None else stride
    if not 1 <= size <= min(shape) or stride < 1:
        raise OptionError(
            f"patches of {size} pixels every {stride} do not fit a face of {shape[0]}×{shape[1]}; "
            "give a size inside it and a stride of 1 at least"
        )
    while forwards is not None and np.prod([_steps(n, size, stride) for n in shape]) > forwards:
        if stride >= max(shape):
            raise OptionError(f"{forwards} forward passes are too few; give 1 at least")
        stride += 1
    starts = [np.rint(np.linspace(0, n - size, _steps(n, size, stride))).astype(int) for n in shape]
    masks = np.zeros((len(starts[0]) * len(starts[1]), *shape), np.float32)
    for mask, (y, x) in zip(masks, [(y, x) for y in starts[0] for x in starts[1]], strict=True):
        mask[y : y + size, x : x + size] = 1
    return masks


def _steps(length: int, size: int, stride: int) -> int:
    return -(-(length - size) // stride) + 1


def averaged(
    masks: Float[np.ndarray, "K H W"], values: Float[np.ndarray, " K"]
) -> Float[np.ndarray, "H W"]:
    """The mean of the values of the masks that cover a pixel; 0 where none does."""
    weight = masks.sum(0)
    total = np.tensordot(values, masks, 1)
    return np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)

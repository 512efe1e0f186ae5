"""Seamless blending: a region of one face set into another without a visible edge.

Poisson cloning (Pérez, Gangnet, Blake, "Poisson Image Editing", SIGGRAPH 2003): inside of the mask
the result has the source's gradients and, on the mask's boundary, the target's values. It is

    result = source + u,    Δu = 0 in the mask,    u = target − source around it,

so that what is solved for is only a smooth correction of the source's brightness. Δ is the
differences to the four neighbours; at the image's edge there is no neighbour, and no condition.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float

from fggb_jax.errors import OptionError

TOLERANCE = 1e-5  # of the residual's norm to that of the right-hand side; 8 bits hold 4e-3


def seamless(
    target: Float[np.ndarray, "H W 3"],
    source: Float[np.ndarray, "H W 3"],
    mask: Bool[np.ndarray, "H W"],
) -> Float[np.ndarray, "H W 3"]:
    """Set the source's region into the target by Poisson cloning.

    Args:
        target: float32 in [0, 1]; it remains, to the bit, where the mask is false.
        source: likewise, aligned with the target: a pixel goes where it is.
        mask: where the source goes; not all of the image, since there would be no boundary.

    Returns:
        (H, W, 3) float32 in [0, 1]; what the correction brings out of this range is cut off.

    Raises:
        OptionError: the shapes differ, or the mask is not bool or is true everywhere.
    """
    shape = (*np.shape(mask), 3)
    if np.shape(target) != shape or np.shape(source) != shape:
        raise OptionError(
            f"a target of shape {np.shape(target)}, a source of {np.shape(source)} and a mask of "
            f"{np.shape(mask)}; give (H, W, 3) twice, and (H, W)"
        )
    if mask.dtype != bool or mask.all():
        raise OptionError("mask must be bool, and false somewhere: the target's pixels are kept")
    offset = np.where(mask[..., None], 0, target.astype(np.float64) - source)
    blended = np.clip(source + harmonic(offset, mask), 0, 1)
    return np.where(mask[..., None], blended, target).astype(np.float32)


def harmonic(
    values: Float[np.ndarray, "H W C"], mask: Bool[np.ndarray, "H W"]
) -> Float[np.ndarray, "H W C"]:
    """The smoothest continuation into the mask of the values around it: Δu = 0, u = 0 elsewhere.

    `values` must be 0 in the mask.
    """
    box = tuple(
        slice(max(0, places.min() - 1), places.max() + 2) if len(places) else slice(0)
        for places in np.nonzero(mask)
    )
    u = np.zeros(values.shape, np.float64)
    u[box] = _solved(values[box], mask[box])
    return u


def _solved(
    values: Float[np.ndarray, "h w C"], mask: Bool[np.ndarray, "h w"]
) -> Float[np.ndarray, "h w C"]:
    """`harmonic` of the mask's surroundings: an edge that is not the image's is outside the mask.

    By conjugate gradients for all C channels at once; about as many steps as the mask is wide.
    """
    inside = mask[..., None].astype(np.float64)
    degree = _neighbours(np.ones((*mask.shape, 1)))

    def laplacian(u: np.ndarray) -> np.ndarray:
        return inside * (degree * u - _neighbours(u))

    residual = inside * _neighbours(values)
    u, direction = np.zeros_like(residual), residual
    square = (residual**2).sum((0, 1))
    enough = TOLERANCE**2 * square
    for _ in range(4 * sum(mask.shape)):
        if (square <= enough).all():
            break
        turned = laplacian(direction)
        step = _ratio(square, (direction * turned).sum((0, 1)))
        u, residual = u + step * direction, residual - step * turned
        square, before = (residual**2).sum((0, 1)), square
        direction = residual + _ratio(square, before) * direction
    return u


def _neighbours(u: np.ndarray) -> np.ndarray:
    """The sum of a pixel's four neighbours, of those that are in the image."""
    total = np.zeros_like(u)
    for here, there in _shifts():
        total[here] += u[there]
    return total


def _shifts() -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    ahead, behind, all_of_it = slice(1, None), slice(None, -1), slice(None)
    for first, second in ((ahead, behind), (behind, ahead)):
        yield (first,), (second,)
        yield (all_of_it, first), (all_of_it, second)


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Their quotient, and 0 for a channel that is solved."""
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0)

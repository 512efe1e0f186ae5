"""The forms of a convolution that are fast on a CPU, channels last.

XLA:CPU runs a dense convolution at the rate of a matrix product where its channels are last, but
a grouped one 25 to 60 times slower than the same arithmetic written as shifted multiply-adds, and
one whose input is spread out by a stride, which is what a strided convolution's pullback is, with
all the zeros between. Winograd's F(2,3) (Lavin and Gray, arXiv 1509.09308) multiplies 2.25 times
less than a 3×3 convolution does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

SHALLOW = 4  # input channels of a group up to which shifted sums pay
WINOGRAD_CHANNELS = 32  # fewer do not pay for the transforms
Pair = tuple[int, int]


@dataclass(frozen=True)
class Geometry:
    """How a kernel moves over an image; a pair holds what belongs to rows and to columns.

    Attributes:
        stride: of the output over the input.
        padding: (before, after) of each axis; negative ones crop.
        spread: the input's pixels lie this far apart, zeros between them (a transposed stride).
        dilation: the kernel's taps lie this far apart.
        groups: into which the channels fall.
    """

    stride: Pair = (1, 1)
    padding: tuple[Pair, Pair] = ((0, 0), (0, 0))
    spread: Pair = (1, 1)
    dilation: Pair = (1, 1)
    groups: int = 1

    def output(self, image: Sequence[int], kernel: Sequence[int]) -> Pair:
        """The size of the result."""
        return self._output(0, image, kernel), self._output(1, image, kernel)

    def _output(self, i: int, image: Sequence[int], kernel: Sequence[int]) -> int:
        padded = (image[i] - 1) * self.spread[i] + 1 + sum(self.padding[i])
        extent = (kernel[i] - 1) * self.dilation[i] + 1
        return max((padded - extent) // self.stride[i] + 1, 0)


def convolve(x: jax.Array, w: jax.Array, at: Geometry, *, winograd: bool = False) -> jax.Array:
    """Convolve x (N, H, W, C) with w (rows, columns, C/groups, O) → (N, H', W', O).

    Args:
        x: the images, channels last.
        w: the kernels.
        at: where they are applied.
        winograd: whether a dense 3×3 convolution may go through Winograd's transforms, whose
            rounding is a few times larger and whose own pullback is slow.
    """
    kernel = w.shape[:2]
    if at.spread != (1, 1):
        if at.stride != (1, 1) or at.dilation != (1, 1):
            return _plain(x, w, at)
        return _spread_pointwise(x, w, at) if kernel == (1, 1) else _phases(x, w, at, winograd)
    if at.groups > 1:
        return _shifted(x, w, at) if w.shape[2] <= SHALLOW else _split(x, w, at)
    if kernel == (1, 1):
        return _pointwise(_cropped(x, at), w)
    if winograd and _suits_winograd(x, w, at):
        return _winograd(x, w, at)
    return _plain(x, w, at)


def _plain(x: jax.Array, w: jax.Array, at: Geometry) -> jax.Array:
    return lax.conv_general_dilated(
        x,
        w,
        at.stride,
        at.padding,
        at.spread,
        at.dilation,
        ("NHWC", "HWIO", "NHWC"),
        at.groups,
    )


def _padded(x: jax.Array, padding: tuple[Pair, Pair], spread: Pair = (1, 1)) -> jax.Array:
    (top, bottom), (left, right) = padding
    rows, columns = (s - 1 for s in spread)
    config = ((0, 0, 0), (top, bottom, rows), (left, right, columns), (0, 0, 0))
    return x if not any(map(any, config)) else lax.pad(x, jnp.zeros((), x.dtype), config)


def _cropped(x: jax.Array, at: Geometry) -> jax.Array:
    """The pixels that a kernel of one pixel meets."""
    return _padded(x, at.padding)[:, :: at.stride[0], :: at.stride[1]]


def _pointwise(x: jax.Array, w: jax.Array) -> jax.Array:
    """Each pixel of the result depends on the same pixel of the image alone: a matrix product."""
    return lax.dot_general(x, w[0, 0], (((3,), (0,)), ((), ())))


def _spread_pointwise(x: jax.Array, w: jax.Array, at: Geometry) -> jax.Array:
    if at.groups > 1:
        return _padded(convolve(x, w, Geometry(groups=at.groups)), at.padding, at.spread)
    return _padded(_pointwise(x, w), at.padding, at.spread)


def _phases(x: jax.Array, w: jax.Array, at: Geometry, winograd: bool) -> jax.Array:
    """A convolution over spread pixels: each residue of the output meets a few taps, all dense."""
    rows, columns = at.output(x.shape[1:3], w.shape[:2])
    phases = [
        [_phase(x, w, at, (i, j), (rows, columns), winograd) for j in range(at.spread[1])]
        for i in range(at.spread[0])
    ]
    return _interleaved(phases)[:, :rows, :columns]


def _phase(
    x: jax.Array, w: jax.Array, at: Geometry, residue: Pair, outputs: Pair, winograd: bool
) -> jax.Array:
    """Outputs residue, residue + spread, …, as many for every residue."""
    first, padding, count = [], [], []
    for i in range(2):
        spread, before = at.spread[i], at.padding[i][0]
        tap = (before - residue[i]) % spread
        taps = len(range(tap, w.shape[i], spread))
        offset = (residue[i] + tap - before) // spread  # of the pixel that the first tap meets
        n = -(-outputs[i] // spread)
        first.append(tap)
        count.append(n)
        padding.append((-offset, n + offset + taps - 1 - x.shape[1 + i]))
    kernel = w[first[0] :: at.spread[0], first[1] :: at.spread[1]]
    if 0 in kernel.shape[:2]:
        return jnp.zeros((len(x), *count, w.shape[3]), x.dtype)
    inner = Geometry(padding=(padding[0], padding[1]), groups=at.groups)
    return convolve(x, kernel, inner, winograd=winograd)


def _interleaved(phases: list[list[jax.Array]]) -> jax.Array:
    """phases[i][j] (N, H, W, C) → (N, len·H, len·W, C), pixel (i, j) of each block from its own."""
    n, height, width, channels = phases[0][0].shape
    rows, columns = len(phases), len(phases[0])
    stacked = jnp.stack([jnp.stack(line, 3) for line in phases], 2)
    return stacked.reshape(n, height * rows, width * columns, channels)


def _shifted(x: jax.Array, w: jax.Array, at: Geometry) -> jax.Array:
    """A grouped convolution of shallow groups as a sum of shifted, weighted images."""
    height, width, depth, channels = w.shape
    rows, columns = at.output(x.shape[1:3], w.shape[:2])
    x = _padded(x, at.padding)
    total = jnp.zeros((), x.dtype)
    for within in range(depth):
        source, weights = _met(x, w, at.groups, within)
        for i in range(height):
            for j in range(width):
                top, left = i * at.dilation[0], j * at.dilation[1]
                patch = source[
                    :,
                    top : top + (rows - 1) * at.stride[0] + 1 : at.stride[0],
                    left : left + (columns - 1) * at.stride[1] + 1 : at.stride[1],
                ]
                total = total + patch * weights[i, j].reshape(1, 1, 1, channels)
    return total


def _met(x: jax.Array, w: jax.Array, groups: int, within: int) -> tuple[jax.Array, jax.Array]:
    """For each output channel one of the input channels of its group, and its weights.

    The outputs of a group begin at different inputs, so that the first turn is x itself.
    """
    depth, outputs = w.shape[2], w.shape[3]
    of_group = outputs // groups
    place = (np.arange(outputs) % of_group + within) % depth
    channel = np.arange(outputs) // of_group * depth + place
    weights = w[:, :, place, np.arange(outputs)]
    if np.array_equal(channel, np.arange(x.shape[3])):
        return x, weights
    if depth == of_group:  # a turn within each group: no gather
        turned = x.reshape(*x.shape[:3], groups, depth)
        return jnp.roll(turned, -within, -1).reshape(x.shape), weights
    return x[..., channel], weights


def _split(x: jax.Array, w: jax.Array, at: Geometry) -> jax.Array:
    """A grouped convolution of deep groups: one convolution each."""
    alone = replace(at, groups=1)
    xs, ws = jnp.split(x, at.groups, 3), jnp.split(w, at.groups, 3)
    return jnp.concatenate([convolve(a, b, alone) for a, b in zip(xs, ws, strict=True)], 3)


# Winograd: F(2,3) for rows and columns


_INPUT = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))
_KERNEL = ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1))
_OUTPUT = ((1, 1, 1, 0), (0, 1, -1, -1))


def _suits_winograd(x: jax.Array, w: jax.Array, at: Geometry) -> bool:
    height, width, inputs, outputs = w.shape
    plain = (height, width) == (3, 3) and at.stride == (1, 1) and at.dilation == (1, 1)
    return plain and min(inputs, outputs) >= WINOGRAD_CHANNELS and min(x.shape[1:3]) >= 4


def _winograd(x: jax.Array, w: jax.Array, at: Geometry) -> jax.Array:
    """Blocks of 2×2 outputs from blocks of 4×4 pixels, as sixteen matrix products."""
    rows, columns = at.output(x.shape[1:3], (3, 3))
    high, wide = -(-rows // 2), -(-columns // 2)
    (top, bottom), (left, right) = at.padding
    x = _padded(x, ((top, bottom + 2 * high - rows), (left, right + 2 * wide - columns)))
    # Without the barrier XLA computes what leads to a pixel anew in each of the sixteen.
    x = lax.optimization_barrier(x)
    transform = jnp.asarray(_KERNEL, w.dtype)
    kernels = jnp.einsum("ai,bj,ijco->abco", transform, transform, w)
    pixels = [
        [x[:, i : i + 2 * high : 2, j : j + 2 * wide : 2] for j in range(4)] for i in range(4)
    ]
    blocks = _transformed(_INPUT, pixels)
    products = [[_block_product(blocks[a][b], kernels[a, b]) for b in range(4)] for a in range(4)]
    return _interleaved(_transformed(_OUTPUT, products))[:, :rows, :columns]


def _block_product(block: jax.Array, kernel: jax.Array) -> jax.Array:
    # The transformed block is written once; fused into the product it would be read badly.
    return lax.dot_general(lax.optimization_barrier(block), kernel, (((3,), (0,)), ((), ())))


def _transformed(
    matrix: tuple[tuple[int, ...], ...], grid: list[list[jax.Array]]
) -> list[list[jax.Array]]:
    """Matrix · grid · matrixᵀ, the grid's elements being images."""
    columns = len(grid[0])
    tall = [[_combined(line, [row[j] for row in grid]) for j in range(columns)] for line in matrix]
    return [[_combined(line, row) for line in matrix] for row in tall]


def _combined(signs: tuple[int, ...], images: list[jax.Array]) -> jax.Array:
    """A sum of images with signs."""
    chosen = [(s, image) for s, image in zip(signs, images, strict=True) if s]
    (sign, total), *others = sorted(chosen, key=lambda pair: -pair[0])
    assert sign == 1
    for sign, image in others:
        total = total + image if sign > 0 else total - image
    return total

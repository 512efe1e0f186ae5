"""The forms of a convolution that are fast, channels last.

XLA:CPU runs a dense convolution at the rate of a matrix product where its channels are last, but
a grouped one 25 to 60 times slower than the same arithmetic written as shifted multiply-adds, and
one whose input is spread out by a stride, which is what a strided convolution's pullback is, with
all the zeros between. Winograd's F(2,3) and F(4,3) (Lavin and Gray, arXiv 1509.09308) multiply 2.25
and 4 times less than a 3×3 convolution does.

An accelerator's own convolutions are fast, but for few output channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

SHALLOW = 4  # input channels of a group up to which shifted sums pay
WINOGRAD_CHANNELS = 32  # fewer do not pay for the transforms
NARROW = 4  # output channels up to which they had better not come last
Pair = tuple[int, int]


@dataclass(frozen=True)
class Form:
    """How convolutions are computed; by default so that they can be differentiated, on a CPU.

    Attributes:
        winograd: dense 3×3 ones by Winograd's transforms, so many outputs a side at once, 2 or 4; 0
            for none. Their rounding is a few times larger, and their own pullback is slow.
        rows: 4 only where each product of the transforms has at least so many, 2 elsewhere: fewer
            take as long, since 36 kernels must be read instead of 16.
        native: as accelerators do it best.
        operands: the type of what is multiplied, such as bfloat16; products are added in the
            image's own. None for that one throughout.
    """

    winograd: int = 0
    rows: int = 0
    native: bool = False
    operands: Any = None


DENSE = Form()


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


def convolve(x: jax.Array, w: jax.Array, at: Geometry, form: Form = DENSE) -> jax.Array:
    """Convolve x (N, H, W, C) with w (rows, columns, C/groups, O) → (N, H', W', O).

    Args:
        x: the images, channels last.
        w: the kernels.
        at: where they are applied.
        form: how.
    """
    if form.native:
        x, w = _operands(form, x, w)
    kernel = w.shape[:2]
    narrow = at.groups == 1 and w.shape[3] <= NARROW and kernel != (1, 1)
    if narrow and at.stride == (1, 1) and at.dilation == (1, 1):
        return _planes(x, w, at, form)
    if form.native:
        return _native(x, w, at, form)
    if at.spread != (1, 1):
        if at.stride != (1, 1) or at.dilation != (1, 1):
            return _plain(x, w, at, form)
        if kernel == (1, 1):
            return _spread_pointwise(x, w, at, form)
        return _phases(x, w, at, form)
    if at.groups > 1:
        return _shifted(x, w, at, form) if w.shape[2] <= SHALLOW else _split(x, w, at, form)
    if kernel == (1, 1):
        return _pointwise(_cropped(x, at), w, form)
    if form.winograd and _suits_winograd(x, w, at):
        return _winograd(x, w, at, form)
    return _plain(x, w, at, form)


def _native(x: jax.Array, w: jax.Array, at: Geometry, form: Form) -> jax.Array:
    if at.spread != (1, 1):
        # XLA knows the pullback of a strided convolution, for which GPUs have kernels, by a
        # reversal of the kernel that it sees in the same program.
        w = lax.rev(lax.optimization_barrier(lax.rev(w, (0, 1))), (0, 1))
    elif at.groups > 1 and 1 < w.shape[2] <= SHALLOW:
        # Libraries have kernels for depthwise convolutions, and none that is good for these.
        return _shifted(x, w, at, form)
    return _plain(x, w, at, form)


def _operands(form: Form, a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    return (a, b) if form.operands is None else (a.astype(form.operands), b.astype(form.operands))


def _product(a: jax.Array, b: jax.Array, numbers: Any, form: Form) -> jax.Array:
    return lax.dot_general(*_operands(form, a, b), numbers, preferred_element_type=a.dtype)


def _plain(x: jax.Array, w: jax.Array, at: Geometry, form: Form) -> jax.Array:
    image, kernels = _operands(form, x, w)
    return lax.conv_general_dilated(
        image,
        kernels,
        at.stride,
        at.padding,
        at.spread,
        at.dilation,
        ("NHWC", "HWIO", "NHWC"),
        at.groups,
        preferred_element_type=None if form.operands is None else x.dtype,
    )


def _padded(x: jax.Array, padding: tuple[Pair, Pair], spread: Pair = (1, 1)) -> jax.Array:
    (top, bottom), (left, right) = padding
    rows, columns = (s - 1 for s in spread)
    config = ((0, 0, 0), (top, bottom, rows), (left, right, columns), (0, 0, 0))
    return x if not any(map(any, config)) else lax.pad(x, jnp.zeros((), x.dtype), config)


def _cropped(x: jax.Array, at: Geometry) -> jax.Array:
    """The pixels that a kernel of one pixel meets."""
    return _pixels(_padded(x, at.padding), (0, 0), at.output(x.shape[1:3], (1, 1)), at.stride)


def _pixels(x: jax.Array, start: Pair, count: Pair, stride: Pair) -> jax.Array:
    """Count pixels of images (N, H, W, C) from start, every so manieth of them."""
    # By lax: jax.numpy's indexing takes ten times as long to trace, and there are many taps.
    if count == x.shape[1:3]:
        return x
    if 0 in count:
        return jnp.zeros((len(x), *count, x.shape[3]), x.dtype)
    end = [a + (n - 1) * s + 1 for a, n, s in zip(start, count, stride, strict=True)]
    return lax.slice(x, (0, *start, 0), (len(x), *end, x.shape[3]), (1, *stride, 1))


def _pointwise(x: jax.Array, w: jax.Array, form: Form) -> jax.Array:
    """Each pixel of the result depends on the same pixel of the image alone: a matrix product."""
    return _product(x, w[0, 0], (((3,), (0,)), ((), ())), form)


def _spread_pointwise(x: jax.Array, w: jax.Array, at: Geometry, form: Form) -> jax.Array:
    if at.groups > 1:
        return _padded(convolve(x, w, Geometry(groups=at.groups), form), at.padding, at.spread)
    return _padded(_pointwise(x, w, form), at.padding, at.spread)


def _phases(x: jax.Array, w: jax.Array, at: Geometry, form: Form) -> jax.Array:
    """A convolution over spread pixels: each residue of the output meets a few taps, all dense."""
    rows, columns = at.output(x.shape[1:3], w.shape[:2])
    phases = _by_residue(at, (rows, columns), partial(_phase, x, w, at, form))
    return interleaved(phases, 1)[:, :rows, :columns]


def _by_residue(
    at: Geometry, outputs: Pair, phase: Callable[[Pair, Pair], jax.Array]
) -> list[list[jax.Array]]:
    """phase(residue, count) of the outputs residue, residue + spread, …, as many for each."""
    count = -(-outputs[0] // at.spread[0]), -(-outputs[1] // at.spread[1])
    return [[phase((i, j), count) for j in range(at.spread[1])] for i in range(at.spread[0])]


def _taps(at: Geometry, axis: int, residue: int, kernel: int) -> list[Pair]:
    """The taps that outputs residue, residue + spread, … meet, each with the offset of its pixel.

    Output number q of them meets pixel q + offset.
    """
    spread, before = at.spread[axis], at.padding[axis][0]
    taps = range((before - residue) % spread, kernel, spread)
    return [(tap, (residue + tap - before) // spread) for tap in taps]


def _phase(
    x: jax.Array, w: jax.Array, at: Geometry, form: Form, residue: Pair, count: Pair
) -> jax.Array:
    """A phase as a convolution with every so manieth tap."""
    kernel, padding = w, []
    for i in range(2):
        taps = _taps(at, i, residue[i], w.shape[i])
        if not taps:
            return jnp.zeros((len(x), *count, w.shape[3]), x.dtype)
        kernel = lax.slice_in_dim(kernel, taps[0][0], taps[-1][0] + 1, at.spread[i], i)
        padding.append((-taps[0][1], count[i] + taps[-1][1] - x.shape[1 + i]))
    inner = Geometry(padding=(padding[0], padding[1]), groups=at.groups)
    return convolve(x, kernel, inner, form)


def _planes(x: jax.Array, w: jax.Array, at: Geometry, form: Form) -> jax.Array:
    """Few output channels, an image's three, in phases of spread pixels: as planes, not last.

    One matrix product makes an image for each tap; each phase sums some of them, shifted.
    """
    # A CPU transposes x or the products, and behind the barrier does not mix that, number by
    # number, with what makes x.
    x = x if form.native else lax.optimization_barrier(x)
    if form.native or w.size // w.shape[2] > w.shape[2]:
        products = _product(w, x, (((2,), (3,)), ((), ())), form)  # (rows, columns, O, N, H, W)
    else:
        products = _product(x, w, (((3,), (2,)), ((), ())), form).transpose(3, 4, 5, 0, 1, 2)
    rows, columns = at.output(x.shape[1:3], w.shape[:2])

    def phase(residue: Pair, count: Pair) -> jax.Array:
        total = jnp.zeros((w.shape[3], len(x), *count), x.dtype)
        for row, down in _taps(at, 0, residue[0], w.shape[0]):
            for column, right in _taps(at, 1, residue[1], w.shape[1]):
                total = total + _window(products[row, column], (down, right), count)
        return total

    planes = interleaved(_by_residue(at, (rows, columns), phase), 2)
    return planes[:, :, :rows, :columns].transpose(1, 2, 3, 0)


def _window(planes: jax.Array, start: Pair, count: Pair) -> jax.Array:
    """Count pixels of planes (…, H, W) from start, zero outside."""
    ends = [
        (-s, n + s - size, 0) for s, n, size in zip(start, count, planes.shape[-2:], strict=True)
    ]
    config = (*[(0, 0, 0)] * (planes.ndim - 2), *ends)
    return lax.pad(planes, jnp.zeros((), planes.dtype), config)


def interleaved(phases: list[list[jax.Array]], axis: int) -> jax.Array:
    """phases[i][j] give pixel (i, j) of each block; rows lie on the axis, columns on the next."""
    return _merged([_merged(line, axis + 1) for line in phases], axis)


def _merged(parts: list[jax.Array], axis: int) -> jax.Array:
    """parts[i] give place i of each block along the axis."""
    shape = list(parts[0].shape)
    shape[axis] *= len(parts)
    return jnp.stack(parts, axis + 1).reshape(shape)


def _shifted(x: jax.Array, w: jax.Array, at: Geometry, form: Form) -> jax.Array:
    """A grouped convolution of shallow groups as a sum of shifted, weighted images."""
    # Each is added as soon as it is there: whoever plans memory reads this order.
    return reduce(lax.add, _terms(x, w, at, form))


def _terms(x: jax.Array, w: jax.Array, at: Geometry, form: Form) -> Iterator[jax.Array]:
    height, width, depth, _ = w.shape
    count = at.output(x.shape[1:3], w.shape[:2])
    x = _padded(x, at.padding)
    # A CPU reads one copy of it; without the barrier it pads anew in each of the terms.
    x = x if form.native else lax.optimization_barrier(x)
    for within in range(depth):
        source, weights = _met(x, w, at.groups, within, form)
        for i, j in np.ndindex(height, width):
            patch = _pixels(source, (i * at.dilation[0], j * at.dilation[1]), count, at.stride)
            yield lax.mul(patch, _tap(weights, i, j))


def _tap(w: jax.Array, i: int, j: int) -> jax.Array:
    """The weights of one tap, (1, 1, 1, O)."""
    return lax.slice(w, (i, j, 0, 0), (i + 1, j + 1, 1, w.shape[3]))


def _met(
    x: jax.Array, w: jax.Array, groups: int, within: int, form: Form
) -> tuple[jax.Array, jax.Array]:
    """For each output channel one of the input channels of its group, and its weights.

    The outputs of a group begin at different inputs, so that the first turn is x itself.
    """
    depth, outputs = w.shape[2], w.shape[3]
    if depth == 1 and outputs == x.shape[3]:
        # The kernels are written as they lie here; fused into the sum, a transposition of them
        # would be read number by number.
        return x, lax.optimization_barrier(w)
    of_group = outputs // groups
    place = (np.arange(outputs) % of_group + within) % depth
    channel = np.arange(outputs) // of_group * depth + place
    weights = w[:, :, None, place, np.arange(outputs)]
    if np.array_equal(channel, np.arange(x.shape[3])):
        return x, weights
    return _turned(x, depth, within, form) if depth == of_group else x[..., channel], weights


def _turned(x: jax.Array, depth: int, within: int, form: Form) -> jax.Array:
    """Each group's channels rolled by `within`, which is not 0.

    A roll of so short an axis would go number by number. A CPU puts the result together from every
    so manieth channel; a TPU moves 1.4 times as many bytes so, and takes two shifts of all memory.
    """
    if not form.native:
        parts = [lax.slice_in_dim(x, (i + within) % depth, None, depth, 3) for i in range(depth)]
        return _merged(parts, 3)
    memory = jnp.pad(x.reshape(-1), (depth - within, within))
    later, earlier = (memory[start : start + x.size].reshape(x.shape) for start in (depth, 0))
    stays = np.arange(x.shape[3]) % depth + within < depth
    return jnp.where(stays[None, None, None], later, earlier)


def _split(x: jax.Array, w: jax.Array, at: Geometry, form: Form) -> jax.Array:
    """A grouped convolution of deep groups: one convolution each."""
    alone = replace(at, groups=1)
    xs, ws = jnp.split(x, at.groups, 3), jnp.split(w, at.groups, 3)
    return jnp.concatenate([convolve(a, b, alone, form) for a, b in zip(xs, ws, strict=True)], 3)


def scaled(
    w: jax.Array, groups: int, inputs: jax.Array | None = None, outputs: jax.Array | None = None
) -> jax.Array:
    """Kernels (rows, columns, C/groups, O) for inputs, or outputs, each times a factor."""
    if inputs is not None:
        depth, outputs_of_group = w.shape[2], w.shape[3] // groups
        factors = jnp.repeat(inputs.reshape(groups, depth).T, outputs_of_group, axis=1)
        w = w * factors[None, None]
    return w if outputs is None else w * outputs[None, None, None]


# Winograd: F(m,3), m outputs along an axis from m + 2 products


@dataclass(frozen=True)
class _Transforms:
    """The matrices of F(m,3): of m + 2 pixels, of the kernel, and of the products to m outputs."""

    pixels: tuple[tuple[float, ...], ...]
    kernel: tuple[tuple[float, ...], ...]
    outputs: tuple[tuple[float, ...], ...]


@lru_cache
def _transforms(m: int) -> _Transforms:
    """By Toom and Cook: polynomials are multiplied by their values at 0, ±1, ±2 and infinity."""
    points = [0, 1, -1, 2, -2][: m + 1]
    others = [[q for q in points if q != p] for p in points]
    scale = [math.prod(p - q for q in rest) for p, rest in zip(points, others, strict=True)]
    pixels = [[*_polynomial(rest), 0] for rest in others] + [_polynomial(points)]
    kernel = [[p**k / s for k in range(3)] for p, s in zip(points, scale, strict=True)]
    outputs = [[*(p**i for p in points), int(i == m - 1)] for i in range(m)]
    matrices = pixels, [*kernel, [0, 0, 1]], outputs
    return _Transforms(*(tuple(map(tuple, matrix)) for matrix in matrices))


def _polynomial(roots: Sequence[int]) -> list[int]:
    """The coefficients of Π (x − root), the constant first."""
    return [round(c) for c in reversed(np.poly(roots).tolist())]


def _suits_winograd(x: jax.Array, w: jax.Array, at: Geometry) -> bool:
    height, width, inputs, outputs = w.shape
    plain = (height, width) == (3, 3) and at.stride == (1, 1) and at.dilation == (1, 1)
    return plain and min(inputs, outputs) >= WINOGRAD_CHANNELS and min(x.shape[1:3]) >= 4


def _block(x: jax.Array, at: Geometry, form: Form) -> int:
    """How many outputs a side a block has."""
    rows, columns = at.output(x.shape[1:3], (3, 3))
    return 2 if len(x) * -(-rows // 4) * -(-columns // 4) < form.rows else form.winograd


def _winograd(x: jax.Array, w: jax.Array, at: Geometry, form: Form) -> jax.Array:
    """Blocks of m×m outputs from blocks of m + 2 pixels a side: a matrix product for each.

    Rows are transformed before columns and whole, as they lie in memory: pixel by pixel it took
    three times as long.
    """
    m = _block(x, at, form)
    transforms = _transforms(m)
    rows, columns = at.output(x.shape[1:3], (3, 3))
    high, wide = -(-rows // m) * m, -(-columns // m) * m
    (top, bottom), (left, right) = at.padding
    x = _padded(x, ((top, bottom + high - rows), (left, right + wide - columns)))
    # Without the barriers XLA computes what leads to a pixel anew in each that it leads to.
    x = lax.optimization_barrier(x)
    lines = [x[:, i : i + high : m] for i in range(m + 2)]
    lines = [lax.optimization_barrier(_combined(f, lines)) for f in transforms.pixels]
    found = []
    for line, down in zip(lines, transforms.kernel, strict=True):
        pixels = [line[:, :, j : j + wide : m] for j in range(m + 2)]
        taps = [_combined(down, [w[i, j] for i in range(3)]) for j in range(3)]
        products = [
            _block_product(form, _combined(of_pixels, pixels), _combined(of_taps, taps))
            for of_pixels, of_taps in zip(transforms.pixels, transforms.kernel, strict=True)
        ]
        outputs = [_combined(f, products) for f in transforms.outputs]
        found.append(lax.optimization_barrier(_merged(outputs, 2)))
    outputs = [_combined(f, found) for f in transforms.outputs]
    return _merged(outputs, 1)[:, :rows, :columns]


def _block_product(form: Form, block: jax.Array, kernel: jax.Array) -> jax.Array:
    # The transformed block is written once; fused into the product it would be read badly.
    block = lax.optimization_barrier(block)
    return _product(block, kernel, (((3,), (0,)), ((), ())), form)


def _combined(factors: tuple[float, ...], arrays: list[jax.Array]) -> jax.Array:
    """Σ factor · array, without the products by 0 and ±1."""
    total = None
    for factor, array in sorted(zip(factors, arrays, strict=True), key=lambda pair: -pair[0]):
        if factor == -1 and total is not None:
            total = total - array
        elif factor:
            term = array if factor == 1 else factor * array
            total = term if total is None else total + term
    assert total is not None
    return total

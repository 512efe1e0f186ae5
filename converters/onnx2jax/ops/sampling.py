"""Values read between the pixels: grids, deformed convolutions, regions."""

from __future__ import annotations

import functools
import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from onnx2jax.errors import DataDependentError
from onnx2jax.ops.conv import sum_bias
from onnx2jax.ops.resize import interpolation
from onnx2jax.registry import op


@op("GridSample", 16)
def GridSample(x, grid, *, align_corners=0, mode="linear", padding_mode="zeros"):
    """x (N, C, D1 … Dr), grid (N, O1 … Or, r), its last axis from the last dimension to D1."""
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    size = x.shape[2:]
    where = [
        _denormalized(grid[..., len(size) - 1 - i], n, bool(align_corners))
        for i, n in enumerate(size)
    ]
    borders = [(0.0, n - 1.0) if align_corners else (-0.5, n - 0.5) for n in size]
    sample = partial(_sample, mode=mode, padding=padding_mode, borders=borders)
    return jax.vmap(sample)(jnp.asarray(x), where).astype(x.dtype)


def _denormalized(v, n, align_corners):
    """From [−1, 1] to pixels."""
    return (v + 1) / 2 * (n - 1) if align_corners else ((v + 1) * n - 1) / 2


def _sample(x, where, *, mode, padding, borders):
    """x (C, D1 …) at `where`, one array of pixel coordinates for each axis."""
    if mode == "nearest":
        where = [jnp.round(v) for v in where]
    if padding == "border" and mode != "cubic":  # whose taps alone are held, as in PyTorch
        where = [jnp.clip(v, 0, n - 1) for v, n in zip(where, x.shape[1:], strict=True)]
    elif padding == "reflection":
        where = [_reflected(v, *border) for v, border in zip(where, borders, strict=True)]
    axes = [
        list(_taps(v, n, mode, padding, border))
        for v, n, border in zip(where, x.shape[1:], borders, strict=True)
    ]
    parts = [
        functools.reduce(jnp.multiply, (w for _, w in taps))
        * x[(slice(None), *(i for i, _ in taps))]
        for taps in itertools.product(*axes)
    ]
    return functools.reduce(jnp.add, parts)


def _taps(where, n, mode, padding, border):
    """(index, weight) of each pixel along an axis that a coordinate reads."""
    if mode == "nearest":
        taps = [(where, jnp.ones_like(where))]
    else:
        kernel, reach = interpolation(mode, -0.75)
        base = jnp.floor(where)
        steps = [base + i for i in range(1 - reach, reach + 1)]
        taps = [(step, kernel(jnp.abs(where - step), xp=jnp)) for step in steps]
    for at, weight in taps:
        if padding == "reflection":
            at = jnp.trunc(_reflected(at, *border))
        elif padding == "zeros":
            weight = jnp.where((at >= 0) & (at <= n - 1), weight, 0)
        yield jnp.clip(at, 0, n - 1).astype(int), weight


def _reflected(v, low, high):
    """Mirrored at the borders until it lies between them."""
    span = max(high - low, 1e-6)  # a single pixel
    distance = jnp.abs(v - low) % (2 * span)
    mirrored = low + jnp.minimum(distance, 2 * span - distance)
    return jnp.where((v < low) | (v > high), mirrored, v)


@op("DeformConv", 19)
def DeformConv(
    x,
    w,
    offset,
    b=None,
    mask=None,
    *,
    dilations=None,
    group=1,
    kernel_shape=None,
    offset_group=1,
    pads=None,
    strides=None,
):
    """A convolution whose taps are moved: offset (N, groups · taps · r, O1 … Or)."""
    kernel = tuple(w.shape[2:])
    rank, taps = len(kernel), int(np.prod(kernel))
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    pads = pads or [0] * 2 * rank
    n, channels, out = x.shape[0], x.shape[1], offset.shape[2:]
    offset = offset.reshape(n, offset_group, taps, rank, *out)
    where = []
    for i in range(rank):
        tap = np.indices(kernel)[i].reshape((-1,) + (1,) * rank) * dilations[i]
        start = np.indices(out)[i] * strides[i] - pads[i]
        where.append(offset[:, :, :, i] + (start + tap).astype(offset.dtype))
    grouped = jnp.asarray(x).reshape(n, offset_group, channels // offset_group, *x.shape[2:])
    borders = [(0.0, size - 1.0) for size in x.shape[2:]]
    sample = partial(_sample, mode="linear", padding="zeros", borders=borders)
    columns = jax.vmap(jax.vmap(sample))(grouped, where)  # (N, groups, channels, taps, O…)
    if mask is not None:
        columns = columns * mask.reshape(n, offset_group, 1, taps, *out)
    columns = columns.reshape(n, group, channels // group, taps, *out)
    kernels = w.reshape(group, w.shape[0] // group, channels // group, taps)
    y = jnp.einsum("ngct...,goct->ngo...", columns, kernels).reshape(n, -1, *out)
    y = y.astype(x.dtype)
    return y if b is None else sum_bias(y, b)


@op("RoiAlign", 10)
def RoiAlign_10(
    x,
    rois,
    batch_indices,
    *,
    mode="avg",
    output_height=1,
    output_width=1,
    sampling_ratio=0,
    spatial_scale=1.0,
):
    return RoiAlign(
        x,
        rois,
        batch_indices,
        coordinate_transformation_mode="output_half_pixel",
        mode=mode,
        output_height=output_height,
        output_width=output_width,
        sampling_ratio=sampling_ratio,
        spatial_scale=spatial_scale,
    )


@op("RoiAlign", 16)
def RoiAlign(
    x,
    rois,
    batch_indices,
    *,
    coordinate_transformation_mode="half_pixel",
    mode="avg",
    output_height=1,
    output_width=1,
    sampling_ratio=0,
    spatial_scale=1.0,
):
    size = (output_height, output_width)
    offset = 0.5 if coordinate_transformation_mode == "half_pixel" else 0.0
    return _roi_align(x, rois, batch_indices, mode, size, sampling_ratio, spatial_scale, offset)


def _roi_align(x, rois, batch_indices, mode, size, ratio, scale, offset):
    """Regions (R, 4) as x1, y1, x2, y2 → (R, C, *size); each bin averages its samples."""
    if ratio <= 0 and isinstance(rois, Tracer):
        raise DataDependentError(
            "how many samples a bin has depends on the regions where sampling_ratio is 0: give it "
            "a positive one, or call the model outside jit"
        )
    regions = []
    if ratio > 0:
        align = partial(_aligned, x, mode=mode, size=size, scale=scale, offset=offset)
        return jax.vmap(partial(align, counts=(ratio, ratio)))(
            jnp.asarray(rois), jnp.asarray(batch_indices)
        )
    for roi, image in zip(np.asarray(rois), np.asarray(batch_indices), strict=True):
        low, high = roi[1::-1] * scale, roi[:1:-1] * scale
        extent = high - low if offset else np.maximum(high - low, 1)
        counts = tuple(max(int(np.ceil(e / n)), 1) for e, n in zip(extent, size, strict=True))
        regions.append(_aligned(x, roi, image, mode, size, scale, offset, counts))
    return jnp.stack(regions)


def _aligned(x, roi, image, mode, size, scale, offset, counts):
    """One region (C, *size), each bin of counts[0] × counts[1] samples."""
    low, high = roi[jnp.array([1, 0])] * scale, roi[jnp.array([3, 2])] * scale
    low, high = low - offset, high - offset
    extent = high - low if offset else jnp.maximum(high - low, 1)
    axes = []
    for i, (bins, count) in enumerate(zip(size, counts, strict=True)):
        steps = (jnp.arange(bins * count) + 0.5) / count
        axes.append(list(_region_taps(low[i] + steps * extent[i] / bins, x.shape[2 + i])))
    picture = jnp.asarray(x)[image]
    parts = [
        wy[:, None] * wx * picture[:, iy[:, None], ix]
        for (iy, wy), (ix, wx) in itertools.product(*axes)
    ]
    # ONNX's "max" takes the largest of the weighted corners, not of the interpolated values.
    samples = functools.reduce(jnp.add if mode == "avg" else jnp.maximum, parts)
    samples = samples.reshape(-1, size[0], counts[0], size[1], counts[1])
    return (samples.mean((2, 4)) if mode == "avg" else samples.max((2, 4))).astype(x.dtype)


def _region_taps(where, n):
    """The two pixels that each coordinate reads; nothing more than a pixel outside."""
    inside = (where >= -1) & (where <= n)
    where = jnp.clip(where, 0, n - 1)
    base = jnp.minimum(jnp.floor(where), n - 1)
    after = jnp.minimum(base + 1, n - 1)
    part = where - base
    for index, weight in ((base, 1 - part), (after, part)):
        yield index.astype(int), jnp.where(inside, weight, 0)


@op("MaxRoiPool")
def MaxRoiPool(x, rois, *, pooled_shape, spatial_scale=1.0):
    """Regions (R, 5) as image, x1, y1, x2, y2, in whole pixels, both ends included."""

    def pooled(roi):
        corners = jnp.round(roi[1:] * spatial_scale)
        masks = []
        for axis, bins in enumerate(pooled_shape):
            low, high = corners[1 - axis], corners[3 - axis]
            step = jnp.maximum(high - low + 1, 1) / bins
            at, i = jnp.arange(x.shape[2 + axis]), jnp.arange(bins)[:, None]
            starts, ends = jnp.floor(i * step) + low, jnp.ceil((i + 1) * step) + low
            masks.append((at >= starts) & (at < ends))
        hit = masks[0][:, None, :, None] & masks[1][None, :, None, :]
        values = jnp.asarray(x)[roi[0].astype(int)][:, None, None]
        largest = jnp.where(hit, values, -jnp.inf).max((-2, -1))
        return jnp.where(hit.any((-2, -1)), largest, 0).astype(x.dtype)

    return jax.vmap(pooled)(jnp.asarray(rois))

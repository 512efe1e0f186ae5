"""Resize and Upsample: every axis is a static matrix or a gather, known from the shapes alone."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
import numpy as np

from onnx2jax.registry import op
from onnx2jax.values import ints, normalized_axes


@op("Upsample", 7)
def Upsample_7(x, *, scales, mode="nearest"):
    return Resize_10(x, np.asarray(scales), mode=mode)


@op("Upsample", 9, static=("scales",))
@op("Resize", 10, static=("scales",))
def Resize_10(x, scales, *, mode="nearest"):
    return Resize(
        x,
        None,
        scales,
        mode=mode,
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


@op("Resize", 11, static=("roi", "scales", "sizes"))
def Resize(
    x,
    roi=None,
    scales=None,
    sizes=None,
    *,
    antialias=0,
    axes=None,
    coordinate_transformation_mode="half_pixel",
    cubic_coeff_a=-0.75,
    exclude_outside=0,
    extrapolation_value=0.0,
    keep_aspect_ratio_policy="stretch",
    mode="nearest",
    nearest_mode="round_prefer_floor",
):
    crop = coordinate_transformation_mode == "tf_crop_and_resize"
    for axis, scale, size, region in _targets(
        x.shape, scales, sizes, axes, keep_aspect_ratio_policy, roi if crop else None
    ):
        n = x.shape[axis]
        if crop:
            where = _cropped(n, size, scale, *region)
        else:
            where = _coordinates(n, size, scale, coordinate_transformation_mode)
        if mode == "nearest":
            y = jnp.take(x, np.clip(_nearest(where, nearest_mode), 0, n - 1), axis)
        else:
            stretch = max(1 / scale, 1) if antialias else 1
            kernel, reach = interpolation(mode, cubic_coeff_a)
            matrix = _weights(where, n, kernel, reach, stretch, bool(exclude_outside))
            y = jnp.moveaxis(jnp.moveaxis(x, axis, -1) @ matrix.T.astype(x.dtype), -1, axis)
        if crop:
            outside = ((where < 0) | (where > n - 1)).reshape([-1] + [1] * (x.ndim - 1 - axis))
            y = jnp.where(outside, jnp.asarray(extrapolation_value, x.dtype), y)
        x = y
    return x


def _targets(shape, scales, sizes, axes, policy, roi):
    """(axis, scale, size, region) of each axis that changes."""
    axes = normalized_axes(axes, len(shape))
    if scales is not None and np.size(scales):
        factors = [float(s) for s in np.asarray(scales).reshape(-1)]
        lengths = [int(np.floor(shape[a] * s)) for a, s in zip(axes, factors, strict=True)]
    else:
        lengths = ints(sizes)
        factors = [n / shape[a] for a, n in zip(axes, lengths, strict=True)]
        if policy != "stretch":
            factors = [min(factors) if policy == "not_larger" else max(factors)] * len(axes)
            lengths = [int(shape[a] * s + 0.5) for a, s in zip(axes, factors, strict=True)]
    if roi is None or not np.size(roi):
        regions = [(0.0, 1.0)] * len(axes)
    else:
        regions = list(np.asarray(roi, np.float64).reshape(2, -1).T)
    rows = zip(axes, factors, lengths, regions, strict=True)
    return [(a, s, n, r) for a, s, n, r in rows if s != 1 or n != shape[a] or tuple(r) != (0, 1)]


def _cropped(length, size, scale, start, end):
    """TensorFlow's crop: the region's ends are the first and the last sample."""
    last = length * scale - 1
    if last <= 0:
        return np.full(size, (start + end) * (length - 1) / 2)
    return start * (length - 1) + np.arange(size) * (end - start) * (length - 1) / last


def _coordinates(length, size, scale, mode):
    """Where each output sample lies in the input, in samples."""
    i = np.arange(size, dtype=np.float64)
    if mode == "asymmetric":
        return i / scale
    if mode == "align_corners":
        # The scale asked for counts, not the one that rounding to whole samples leaves.
        last = length * scale - 1
        return i * (length - 1) / last if last else np.zeros(size)
    if mode == "pytorch_half_pixel" and size == 1:
        return np.zeros(1)
    if mode == "half_pixel_symmetric":
        adjusted = length * scale
        offset = length / 2 * (1 - size / adjusted)
        return offset + (i + 0.5) / scale - 0.5
    if mode in ("half_pixel", "pytorch_half_pixel"):
        return (i + 0.5) / scale - 0.5
    if mode == "tf_half_pixel_for_nn":
        return (i + 0.5) / scale
    raise ValueError(f"coordinate_transformation_mode {mode!r} is unknown")


def _nearest(where, mode):
    rounding = {
        "round_prefer_floor": lambda v: np.ceil(v - 0.5),
        "round_prefer_ceil": lambda v: np.floor(v + 0.5),
        "floor": np.floor,
        "ceil": np.ceil,
    }
    return rounding[mode](where).astype(np.int64)


def _weights(where, length, kernel, reach, stretch, exclude_outside):
    """The interpolation matrix (outputs, inputs); borders repeat the edge, or are left out.

    `stretch` widens the kernel, so that where an image shrinks every pixel counts.
    """
    width = int(np.ceil(reach * stretch))
    base = np.floor(where).astype(np.int64)
    taps = base[:, None] + np.arange(1 - width, width + 1)
    values = kernel(np.abs(where[:, None] - taps) / stretch)
    if stretch > 1:
        values = values / values.sum(1, keepdims=True)
    if exclude_outside:
        values = values * ((taps >= 0) & (taps < length))
        values = values / values.sum(1, keepdims=True)
    matrix = np.zeros((len(where), length))
    np.add.at(matrix, (np.arange(len(where))[:, None], np.clip(taps, 0, length - 1)), values)
    return matrix


def interpolation(mode, cubic_coeff_a):
    """The weight of a pixel by its distance, and how many pixels away it ends."""
    return (_linear, 1) if mode == "linear" else (partial(_cubic, a=cubic_coeff_a), 2)


def _linear(d, xp=np):
    """The triangle: the weight of a pixel at distance d ≥ 0."""
    return xp.maximum(1 - d, 0)


def _cubic(d, a, xp=np):
    """Keys' cubic convolution."""
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return xp.where(d <= 1, near, xp.where(d < 2, far, 0))

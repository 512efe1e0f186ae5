"""Resize and Upsample: every axis is a static matrix or a gather, known from the shapes alone."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from onnx2jax.errors import UnsupportedModelError
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
    if coordinate_transformation_mode == "tf_crop_and_resize" or antialias:
        raise UnsupportedModelError("Resize with a crop or antialiasing is not supported yet")
    if keep_aspect_ratio_policy != "stretch":
        raise UnsupportedModelError("Resize that keeps the aspect ratio is not supported yet")
    for axis, scale, size in _targets(x.shape, scales, sizes, axes):
        where = _coordinates(x.shape[axis], size, scale, coordinate_transformation_mode)
        if mode == "nearest":
            index = np.clip(_nearest(where, nearest_mode), 0, x.shape[axis] - 1)
            x = jnp.take(x, index, axis)
        else:
            weights = _weights(where, x.shape[axis], mode, cubic_coeff_a, bool(exclude_outside))
            x = jnp.moveaxis(jnp.moveaxis(x, axis, -1) @ weights.T.astype(x.dtype), -1, axis)
    return x


def _targets(shape, scales, sizes, axes):
    """(axis, scale, size) of each axis that changes."""
    axes = normalized_axes(axes, len(shape))
    if scales is not None and np.size(scales):
        factors = [float(s) for s in np.asarray(scales).reshape(-1)]
        lengths = [int(np.floor(shape[a] * s)) for a, s in zip(axes, factors, strict=True)]
    else:
        lengths = ints(sizes)
        factors = [n / shape[a] for a, n in zip(axes, lengths, strict=True)]
    rows = zip(axes, factors, lengths, strict=True)
    return [(a, s, n) for a, s, n in rows if s != 1 or n != shape[a]]


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


def _weights(where, length, mode, a, exclude_outside):
    """The interpolation matrix (outputs, inputs); borders repeat the edge, or are left out."""
    reach = 1 if mode == "linear" else 2
    kernel = _linear if mode == "linear" else lambda d: _cubic(d, a)
    base = np.floor(where).astype(np.int64)
    taps = base[:, None] + np.arange(1 - reach, reach + 1)
    values = kernel(np.abs(where[:, None] - taps))
    if exclude_outside:
        values = values * ((taps >= 0) & (taps < length))
        values = values / values.sum(1, keepdims=True)
    matrix = np.zeros((len(where), length))
    np.add.at(matrix, (np.arange(len(where))[:, None], np.clip(taps, 0, length - 1)), values)
    return matrix


def _linear(d):
    return np.maximum(1 - d, 0)


def _cubic(d, a):
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0))

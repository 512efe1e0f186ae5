"""Shapes, slices and layout: most of it static, so that it disappears under jit."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from onnx2jax.registry import op
from onnx2jax.values import FOLDED, cast, dtype_of, ints, namespace, normalized_axes


@op("Identity")
def Identity(x):
    return (x,)  # which may be a sequence


@op("Shape", 1)
def Shape(x, *, start=0, end=None):
    return np.asarray(np.shape(x)[start:end], np.int64)


@op("Size")
def Size(x):
    return np.asarray(np.size(x), np.int64)


@op("Reshape", 1)
def Reshape_1(x, *, shape):
    return Reshape(x, np.asarray(shape))


@op("Reshape", 5, static=("shape",))
def Reshape(x, shape, *, allowzero=0):
    wanted = ints(shape)
    if not allowzero:  # 0 copies the input's dimension
        wanted = [np.shape(x)[i] if d == 0 else d for i, d in enumerate(wanted)]
    return x.reshape(wanted)


@op("Flatten")
def Flatten(x, *, axis=1):
    axis = axis % x.ndim if axis < 0 else axis
    rows = int(np.prod(x.shape[:axis], dtype=np.int64))
    return x.reshape(rows, -1) if x.size else x.reshape(rows, int(np.prod(x.shape[axis:])))


@op("Transpose")
def Transpose(x, *, perm=None):
    return namespace(x).transpose(x, perm)


@op("Squeeze", 1)
def Squeeze_1(x, *, axes=None):
    return namespace(x).squeeze(x, None if axes is None else normalized_axes(axes, np.ndim(x)))


@op("Squeeze", 13, static=("axes",))
def Squeeze(x, axes=None):
    return Squeeze_1(x, axes=None if axes is None else ints(axes))


@op("Unsqueeze", 1)
def Unsqueeze_1(x, *, axes):
    return namespace(x).expand_dims(x, normalized_axes(axes, np.ndim(x) + len(axes)))


@op("Unsqueeze", 13, static=("axes",))
def Unsqueeze(x, axes):
    return Unsqueeze_1(x, axes=ints(axes))


@op("Concat", 1)
def Concat_1(*values, axis=1):
    return namespace(*values).concatenate(values, axis)


@op("Concat", 4)
def Concat(*values, axis):
    return namespace(*values).concatenate(values, axis)


@op("Split", 1)
def Split_1(x, parts=None, *, axis=0, split=None, ctx):
    return _split(x, axis, split, ctx.n_outputs)


@op("Split", 13, static=("split",))
def Split(x, split=None, *, axis=0, num_outputs=None, ctx):
    sizes = None if split is None else ints(split)
    return _split(x, axis, sizes, num_outputs or ctx.n_outputs)


def _split(x, axis, sizes, count):
    if sizes is None:  # equal parts, the last one smaller where they cannot be
        part = -(-x.shape[axis] // count)
        ends = [min(part * (i + 1), x.shape[axis]) for i in range(count - 1)]
    else:
        ends = np.cumsum(sizes)[:-1].tolist()
    return tuple(namespace(x).split(x, ends, axis))


@op("Slice", 1)
def Slice_1(x, *, starts, ends, axes=None):
    return _slice(x, starts, ends, axes, None)


@op("Slice", 10, static=("starts", "ends", "axes", "steps"))
def Slice(x, starts, ends, axes=None, steps=None):
    axes = None if axes is None else ints(axes)
    return _slice(x, ints(starts), ints(ends), axes, None if steps is None else ints(steps))


def _slice(x, starts, ends, axes, steps):
    index = [slice(None)] * np.ndim(x)
    axes = range(len(starts)) if axes is None else normalized_axes(axes, np.ndim(x))
    steps = steps or [1] * len(starts)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        size = np.shape(x)[axis]
        # Python's slices clamp as ONNX's do, save that a backward slice to the very start has no
        # number for its end.
        end = None if step < 0 and end < -size else end
        index[axis] = slice(start, end, step)
    return x[tuple(index)]


@op("Expand", static=("shape",))
def Expand(x, shape):
    target = np.broadcast_shapes(np.shape(x), tuple(ints(shape)))
    x = x.reshape((1,) * (len(target) - np.ndim(x)) + np.shape(x))
    return namespace(x).broadcast_to(x, target)


@op("Tile", 6, static=("repeats",))
def Tile(x, repeats):
    times = ints(repeats)
    return namespace(x, np.broadcast_to(0, (math.prod(times),))).tile(x, times)


@op("ConstantOfShape", static=("input",))
def ConstantOfShape(input, *, value=None):
    value = np.zeros(1, np.float32) if value is None else value
    # A view of one element: however large the shape, nothing is allocated here.
    return np.broadcast_to(value.reshape(()), tuple(ints(input)))


@op("EyeLike", 9)
def EyeLike(x, *, dtype=None, k=0):
    dtype = x.dtype if dtype is None else jax.dtypes.canonicalize_dtype(dtype_of(dtype))
    return jnp.eye(*np.shape(x), k=k, dtype=dtype)


@op("Range", static=("start", "limit", "delta"))
def Range(start, limit, delta):
    count = max(math.ceil((limit.item() - start.item()) / delta.item()), 0)
    if count > FOLDED:
        return start + delta * jnp.arange(count).astype(start.dtype)
    return np.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype)


_PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "edge", "wrap": "wrap"}


@op("Pad", 1)
def Pad_1(x, *, paddings, mode="constant", value=0.0):
    return Pad_2(x, pads=paddings, mode=mode, value=value)


@op("Pad", 2)
def Pad_2(x, *, pads, mode="constant", value=0.0):
    return Pad(x, np.asarray(pads), np.asarray(value), mode=mode)


@op("Pad", 11, static=("pads", "axes"))
def Pad(x, pads, constant_value=None, axes=None, *, mode="constant"):
    rank = np.ndim(x)
    axes = normalized_axes(None if axes is None else ints(axes), rank)
    pads = ints(pads)
    widths = [(0, 0)] * rank
    for i, axis in enumerate(axes):
        widths[axis] = (pads[i], pads[i + len(axes)])
    # Negative pads crop.
    crop = tuple(
        slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(widths, x.shape, strict=True)
    )
    widths = [(max(a, 0), max(b, 0)) for a, b in widths]
    xp = namespace(x, constant_value)
    x = x[crop]
    if mode != "constant":
        return xp.pad(x, widths, mode=_PAD_MODES[mode])
    value = 0 if constant_value is None else cast(constant_value, x.dtype).reshape(())
    return xp.pad(x, widths, constant_values=value)


@op("DepthToSpace")
def DepthToSpace(x, *, blocksize, mode="DCR"):
    n, c, h, w = x.shape
    b = blocksize
    if mode == "DCR":
        y = x.reshape(n, b, b, c // b**2, h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        y = x.reshape(n, c // b**2, b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
    return y.reshape(n, c // b**2, h * b, w * b)


@op("SpaceToDepth")
def SpaceToDepth(x, *, blocksize, mode="DCR"):
    n, c, h, w = x.shape
    b = blocksize
    y = x.reshape(n, c, h // b, b, w // b, b)
    y = y.transpose((0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4))
    return y.reshape(n, c * b**2, h // b, w // b)


@op("Trilu", static=("k",))
def Trilu(x, k=None, *, upper=1):
    offset = 0 if k is None else int(k)
    return (jnp.triu if upper else jnp.tril)(jnp.asarray(x), offset)

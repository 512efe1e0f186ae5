"""Pooling over windows and over whole images."""

from __future__ import annotations

import functools

import jax.numpy as jnp
import numpy as np
from jax import lax

from onnx2jax.ops.window import resolve
from onnx2jax.registry import op
from onnx2jax.values import index_dtype, ints


@op("MaxPool")
def MaxPool(
    x,
    *,
    kernel_shape,
    auto_pad="NOTSET",
    ceil_mode=0,
    dilations=None,
    pads=None,
    storage_order=0,
    strides=None,
    ctx,
):
    window = _Window(x, kernel_shape, auto_pad, ceil_mode, dilations, pads, strides)
    lowest = -np.inf if jnp.issubdtype(x.dtype, jnp.floating) else np.iinfo(x.dtype).min
    lowest = np.asarray(lowest, x.dtype)
    y = window.largest(x, lowest)
    return y if ctx.n_outputs == 1 else (y, window.maxima(x, lowest, bool(storage_order)))


@op("AveragePool")
def AveragePool(
    x,
    *,
    kernel_shape,
    auto_pad="NOTSET",
    ceil_mode=0,
    count_include_pad=0,
    dilations=None,
    pads=None,
    strides=None,
):
    window = _Window(x, kernel_shape, auto_pad, ceil_mode, dilations, pads, strides)
    total = window.reduce(x, np.zeros((), x.dtype), lax.add)
    return total / window.counts(bool(count_include_pad)).astype(x.dtype)


@op("LpPool", 2)
def LpPool(
    x,
    *,
    kernel_shape,
    auto_pad="NOTSET",
    ceil_mode=0,
    dilations=None,
    p=2,
    pads=None,
    strides=None,
):
    window = _Window(x, kernel_shape, auto_pad, ceil_mode, dilations, pads, strides)
    total = window.reduce(jnp.abs(x) ** p, np.zeros((), x.dtype), lax.add)
    return (total ** (1 / p)).astype(x.dtype)


@op("GlobalLpPool", 2)
def GlobalLpPool(x, *, p=2):
    total = jnp.sum(jnp.abs(x) ** p, tuple(range(2, x.ndim)), keepdims=True)
    return (total ** (1 / p)).astype(x.dtype)


@op("MaxUnpool", 9, static=("output_shape",))
def MaxUnpool(x, indices, output_shape=None, *, kernel_shape, pads=None, strides=None):
    """Each maximum back where it came from; the rest is 0."""
    rank = len(kernel_shape)
    strides, pads = strides or [1] * rank, pads or [0] * 2 * rank
    size = [
        (n - 1) * s - pads[i] - pads[i + rank] + k
        for i, (n, s, k) in enumerate(zip(x.shape[2:], strides, kernel_shape, strict=True))
    ]
    shape = (*x.shape[:2], *size)
    flat = jnp.zeros(int(np.prod(shape)), x.dtype)
    y = flat.at[jnp.asarray(indices).reshape(-1)].set(jnp.asarray(x).reshape(-1)).reshape(shape)
    if output_shape is None:
        return y
    wanted = zip(ints(output_shape), shape, strict=True)
    return jnp.pad(y, [(0, n - have) for n, have in wanted])


@op("GlobalAveragePool")
def GlobalAveragePool(x):
    return jnp.mean(x, tuple(range(2, x.ndim)), keepdims=True)


@op("GlobalMaxPool")
def GlobalMaxPool(x):
    return jnp.max(x, tuple(range(2, x.ndim)), keepdims=True)


class _Window:
    """A sliding window over the spatial axes of x (N, C, …)."""

    def __init__(self, x, kernel, auto_pad, ceil_mode, dilations, pads, strides):
        self.size = x.shape[2:]
        self.kernel = tuple(kernel)
        self.strides, self.pads, self.dilations = resolve(
            self.size, self.kernel, auto_pad, pads, strides, dilations
        )
        self.padding = [
            (low, high + (self._overhang(i) if ceil_mode else 0))
            for i, (low, high) in enumerate(self.pads)
        ]

    def _overhang(self, i):
        """How far ceil_mode's last window reaches beyond the padding.

        A window that would start in the padding at the end is dropped, as in PyTorch.
        """
        low, high = self.pads[i]
        stride, extent = self.strides[i], (self.kernel[i] - 1) * self.dilations[i] + 1
        padded = self.size[i] + low + high
        outputs = -(-(padded - extent) // stride) + 1
        if (outputs - 1) * stride >= self.size[i] + low:
            outputs -= 1
        return max((outputs - 1) * stride + extent - padded, 0)

    def reduce(self, x, initial, function):
        return lax.reduce_window(
            x,
            initial,
            function,
            (1, 1, *self.kernel),
            (1, 1, *self.strides),
            [(0, 0), (0, 0), *self.padding],
            window_dilation=(1, 1, *self.dilations),
        )

    def largest(self, x, lowest):
        """Each window's maximum; of a dilated one tap by tap, since JAX's has no derivative."""
        if set(self.dilations) <= {1}:
            return self.reduce(x, lowest, lax.max)
        padded = lax.pad(x, lowest, [(0, 0, 0)] * 2 + [(*pair, 0) for pair in self.padding])
        taps = (self._tap(padded, place) for place in np.ndindex(*self.kernel))
        return functools.reduce(jnp.maximum, taps)

    def _tap(self, padded, place):
        """What lies at one place of all windows."""
        rows = zip(padded.shape[2:], self.kernel, self.strides, self.dilations, place, strict=True)
        starts, limits = [0, 0], [*padded.shape[:2]]
        for n, k, stride, dilation, i in rows:
            outputs = (n - (k - 1) * dilation - 1) // stride + 1
            starts.append(i * dilation)
            limits.append(i * dilation + (outputs - 1) * stride + 1)
        return lax.slice(padded, starts, limits, (1, 1, *self.strides))

    def maxima(self, x, lowest, column_major):
        """Where in the flat input each window's maximum lies, the first of equal ones."""
        order = "F" if column_major else "C"  # of the pixels within each plane
        within = np.arange(np.prod(self.size)).reshape(self.size, order=order)
        planes = np.arange(np.prod(x.shape[:2])).reshape(*x.shape[:2], *[1] * len(self.size))
        place = jnp.asarray(planes * within.size + within).astype(index_dtype())
        last = np.asarray(np.iinfo(np.int32).max, place.dtype)

        def larger(a, b):
            (u, i), (v, j) = a, b
            first = (u > v) | ((u == v) & (i < j))
            return jnp.where(first, u, v), jnp.where(first, i, j)

        return self.reduce((lax.stop_gradient(x), place), (lowest, last), larger)[1]

    def counts(self, include_pad):
        """How many elements each window averages over; the overhang never counts."""
        total = np.ones((1, 1) + (1,) * len(self.size))
        for i, (low, high) in enumerate(self.pads):
            line = np.zeros(sum(self.padding[i]) + self.size[i])
            line[: low + self.size[i] + high] = 1 if include_pad else 0
            line[low : low + self.size[i]] = 1
            starts = range(
                0,
                len(line) - (self.kernel[i] - 1) * self.dilations[i],
                self.strides[i],
            )
            taps = np.arange(self.kernel[i]) * self.dilations[i]
            shape = [1] * total.ndim
            shape[2 + i] = -1
            total = total * np.array([line[s + taps].sum() for s in starts]).reshape(shape)
        return total

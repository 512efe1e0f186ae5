"""Pooling over windows and over whole images."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import lax

from onnx2jax.errors import UnsupportedModelError
from onnx2jax.ops.window import resolve_pads
from onnx2jax.registry import op


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
    if ctx.n_outputs > 1:
        raise UnsupportedModelError("the second output of MaxPool, its indices, is not supported")
    window = _Window(x, kernel_shape, auto_pad, ceil_mode, dilations, pads, strides)
    lowest = -np.inf if jnp.issubdtype(x.dtype, jnp.floating) else np.iinfo(x.dtype).min
    return window.reduce(x, np.asarray(lowest, x.dtype), lax.max)


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


@op("GlobalAveragePool")
def GlobalAveragePool(x):
    return jnp.mean(x, tuple(range(2, x.ndim)), keepdims=True)


@op("GlobalMaxPool")
def GlobalMaxPool(x):
    return jnp.max(x, tuple(range(2, x.ndim)), keepdims=True)


class _Window:
    """A sliding window over the spatial axes of x (N, C, …)."""

    def __init__(self, x, kernel, auto_pad, ceil_mode, dilations, pads, strides):
        rank = len(kernel)
        self.size = x.shape[2:]
        self.kernel = tuple(kernel)
        self.strides = tuple(strides or [1] * rank)
        self.dilations = tuple(dilations or [1] * rank)
        self.pads = resolve_pads(
            auto_pad, pads, self.size, self.kernel, self.strides, self.dilations
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

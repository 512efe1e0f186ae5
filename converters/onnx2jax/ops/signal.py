"""Fourier transforms and what goes with them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from onnx2jax.registry import op
from onnx2jax.values import dtype_of, ints


@op("DFT", 17, static=("dft_length",))
def DFT_17(x, dft_length=None, *, axis=1, inverse=0, onesided=0):
    return DFT(x, dft_length, np.asarray(axis), inverse=inverse, onesided=onesided)


@op("DFT", 20, static=("dft_length", "axis"))
def DFT(x, dft_length=None, axis=None, *, inverse=0, onesided=0):
    """x (…, 1) real or (…, 2) complex."""
    axis = -2 if axis is None else int(np.asarray(axis).reshape(()))
    axis %= x.ndim
    # Forwards in 64 bits where JAX has them: what ought to be 0 is then 0 in 32. ONNX's expected
    # values are so too, and those of the inverse are not.
    wide = x if inverse else x.astype(jax.dtypes.canonicalize_dtype(np.float64))
    signal = wide[..., 0] if x.shape[-1] == 1 else lax.complex(wide[..., 0], wide[..., 1])
    length = None if dft_length is None else ints(dft_length)[0]
    if inverse and onesided:
        return jnp.fft.irfft(signal, length, axis)[..., None].astype(x.dtype)
    if inverse:
        return _parts(jnp.fft.ifft(signal, length, axis), x.dtype)
    spectrum = jnp.fft.fft(signal, length, axis)
    if onesided:
        spectrum = jnp.take(spectrum, np.arange(spectrum.shape[axis] // 2 + 1), axis)
    return _parts(spectrum, x.dtype)


def _parts(values, dtype):
    return jnp.stack([values.real, values.imag], -1).astype(dtype)


@op("STFT", 17, static=("frame_step", "frame_length"))
def STFT(signal, frame_step, window=None, frame_length=None, *, onesided=1):
    """signal (batch, length[, 1 or 2]) → (batch, frames, bins, 2)."""
    (step,) = ints(frame_step)
    if frame_length is not None:
        (length,) = ints(frame_length)
    elif window is not None:
        length = len(window)
    else:
        raise ValueError("it needs a window or a frame_length")
    signal = signal[..., None] if signal.ndim == 2 else signal
    count = 1 + (signal.shape[1] - length) // step
    where = np.arange(count)[:, None] * step + np.arange(length)
    frames = jnp.asarray(signal)[:, where]  # (batch, frames, length, parts)
    if window is not None:
        frames = frames * window[:, None]
    return DFT(frames, axis=np.asarray(-2), onesided=onesided)


_MELS = ("num_mel_bins", "dft_length", "sample_rate", "lower_edge_hertz", "upper_edge_hertz")


@op("MelWeightMatrix", 17, static=_MELS)
def MelWeightMatrix(
    num_mel_bins,
    dft_length,
    sample_rate,
    lower_edge_hertz,
    upper_edge_hertz,
    *,
    output_datatype=1,
):
    """Triangles (bins of the spectrum, bins of mel), each from its left edge over its peak."""
    (bins,), (length,), (rate,) = ints(num_mel_bins), ints(dft_length), ints(sample_rate)
    low, high = (float(np.asarray(v).reshape(())) for v in (lower_edge_hertz, upper_edge_hertz))
    mels = [2595 * np.log10(1 + hertz / 700) for hertz in (low, high)]
    edges = mels[0] + np.arange(bins + 2) * (mels[1] - mels[0]) / (bins + 2)
    hertz = 700 * (10 ** (edges / 2595) - 1)
    edges = np.floor((length + 1) * hertz / rate).astype(int)
    weights = np.zeros((length // 2 + 1, bins))
    for i, (left, peak, right) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
        up, down = np.arange(left, peak + 1), np.arange(peak, right)
        weights[up, i] = (up - left) / (peak - left) if peak > left else 1
        weights[down, i] = (right - down) / max(right - peak, 1)
    return weights.astype(dtype_of(output_datatype))

"""Frequency importance: how the cosine falls when a band of spatial frequencies is missing.

Huber and Damer, "Beyond Spatial Explanations: Explainable Face Recognition in the Frequency
Domain", arXiv 2407.11941, WACV 2025.

For each band, a ring of the two-dimensional Fourier transform, the face is transformed, the ring is
set to 0 and what is left is transformed back; c_band is the cosine of that. The paper's importance
is |c − c_band|, and directed with its sign, as here:

    S(f) = c − c_band for every frequency f of a band

THE MAP IS A FREQUENCY PLANE, not the face: row and column are vertical and horizontal frequencies,
constant colour in the middle (H//2, W//2), finer detail farther out. A positive ring is detail that
speaks for the match. Laid over the face it means nothing.

How many bands and how wide is left to `bands`. The mean colour, frequency 0, is kept and has 0: a
face without it would be clipped to darkness.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Int

from fggb_jax.attribution.comparison import Comparison
from fggb_jax.attribution.perturbation import affordable
from fggb_jax.attribution.registry import face_method

WIDTH = 4  # cycles an image, of a band where nobody says how many there are


@face_method("frequency", "Frequency importance", gradients=False, plane="frequencies")
def frequency(
    c: Comparison, *, bands: int | None = None, forwards: int | None = None
) -> Float[np.ndarray, "H W"]:
    """The fall of the cosine without a frequency's band, on the frequency plane.

    Args:
        c: the image and what it is compared with.
        bands: rings of equal width, a forward pass each; about 4 cycles an image wide where None:
            20 at 112.
        forwards: at most that many forward passes a face, by fewer bands.

    Returns:
        (H, W), of frequencies and not of pixels: 0 in the middle, at (H//2, W//2).

    Raises:
        OptionError: fewer than 1 band or forward pass.
    """
    count = _count(c.size, bands, forwards)
    _, values = band_values(c, count)
    rings, _ = _rings(c.size, count)
    return np.append(values, 0.0)[np.fft.fftshift(rings)]


def band_values(
    c: Comparison, bands: int | None = None
) -> tuple[Float[np.ndarray, " B+1"], Float[np.ndarray, " B"]]:
    """What a frequency plane is drawn from.

    Args:
        c: the image and what it is compared with.
        bands: as of `frequency`.

    Returns:
        (edges, values): the bands' limits, cycles a pixel, each band with its upper one; and by how
        much the cosine falls without each.

    Raises:
        OptionError: fewer than 1 band.
    """
    count = _count(c.size, bands, None)
    rings, edges = _rings(c.size, count)
    image = np.asarray(c.image)
    spectrum = np.fft.fft2(image, axes=(0, 1))

    def without(part: slice) -> Float[np.ndarray, "b H W 3"]:
        missing = rings == np.arange(count)[part, None, None]
        left = np.where(missing[..., None], 0, spectrum)
        # What a band missing leaves may be darker than black or brighter than white.
        faces = np.fft.ifft2(left, axes=(1, 2)).real.clip(0, 1)
        return faces.astype(np.float32)

    return edges, c.cosine - c.cosines(count, without)


def _count(shape: tuple[int, int], bands: int | None, forwards: int | None) -> int:
    usual = math.ceil(math.hypot(0.5, 0.5) * shape[0] / WIDTH)
    return affordable(usual if bands is None else bands, forwards, "bands")


def _rings(
    shape: tuple[int, int], count: int
) -> tuple[Int[np.ndarray, "H W"], Float[np.ndarray, " B+1"]]:
    """The band of each frequency of an FFT, −1 for frequency 0; and the bands' limits."""
    down, right = (np.fft.fftfreq(n) for n in shape)
    radius = np.hypot(down[:, None], right[None, :])
    edges = np.linspace(0, radius.max(), count + 1)
    return np.searchsorted(edges, radius, side="left") - 1, edges

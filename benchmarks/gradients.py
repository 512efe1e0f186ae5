"""Every channel's gradient on faces of LFW, and what sums of channels need: their Gram matrices.

The maps of this project are sums over channels, Σ_k c_k X_k, whatever the coefficients. So inner
products of any two of them follow from the N×N Gram matrices of three sets of X_k: the gradients
J_k, J_k averaged over RGB (what signed maps are made of), and the unit maps of magnitude. These
are a thousandth of the gradients' size; `load` keeps them beside the chips, so that an idea for an
estimate is tried in seconds. Filled by `python benchmarks/norm_estimators.py`.
"""

import time
from functools import cache
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import lfw
import numpy as np
from scipy.ndimage import gaussian_filter

import fggb_jax as fx
from fggb_jax.attribution.walk import channel_values
from fggb_jax.data.images import as_float

PROBES = 64  # random images whose directional derivatives are kept
BLUR = 2.0  # σ in pixels of the blurred ones


class Grams(NamedTuple):
    """What is kept of K images.

    Attributes:
        embeddings: (K, N).
        gradients: (K, N, N), ⟨J_k, J_l⟩; the squared norms are its diagonal.
        signed: (K, N, N), the same of J_k averaged over RGB.
        magnitude: (K, N, N), the same of magnitude's unit maps.
        white: (K, PROBES, N), ⟨J_k, x⟩ for images x of white noise.
        blurred: (K, PROBES, N), the same for blurred noise.
    """

    embeddings: np.ndarray
    gradients: np.ndarray
    signed: np.ndarray
    magnitude: np.ndarray
    white: np.ndarray
    blurred: np.ndarray


def reduce(z: np.ndarray, jacobian: np.ndarray, noise: tuple[np.ndarray, np.ndarray]) -> Grams:
    """One image's share of `Grams`."""
    flat = jacobian.reshape(len(z), -1).astype(np.float64)
    signed = jacobian.mean(-1).reshape(len(z), -1).astype(np.float64)
    magnitude = np.abs(jacobian).mean(-1).reshape(len(z), -1).astype(np.float64)
    magnitude /= np.linalg.norm(magnitude, axis=1, keepdims=True)
    grams = (x @ x.T for x in (flat, signed, magnitude))
    return Grams(z, *grams, *(x @ flat.T for x in noise))


@cache
def probes(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(PROBES, H·W·3) images of white and of blurred noise."""
    white = np.random.default_rng(0).normal(size=(PROBES, *size, 3))
    blurred = gaussian_filter(white, (0, BLUR, BLUR, 0))
    return white.reshape(PROBES, -1), blurred.reshape(PROBES, -1)


def load(model: fx.FaceModel, data: lfw.Lfw, chosen: np.ndarray, folder: Path) -> Grams:
    """`Grams` of some chips; each is kept in a file of its own, so that a run can be resumed."""
    folder = folder / f"grams-{model.card.name}"
    folder.mkdir(parents=True, exist_ok=True)
    return Grams(*map(np.stack, zip(*(_one(model, data, i, folder) for i in chosen), strict=True)))


def _one(model: fx.FaceModel, data: lfw.Lfw, index: int, folder: Path) -> Grams:
    path, start = folder / f"{index}.npz", time.monotonic()
    if not path.is_file():
        chip = data.chips[index]
        image = jnp.asarray(as_float(chip, chip.shape, data.names[index]))
        jacobian = channel_values(model, image, "gradient")
        z = np.asarray(model.embed(chip[None]))[0]
        found = reduce(z, np.asarray(jacobian), probes(model.card.size))
        temporary = path.with_suffix(".part.npz")
        np.savez(temporary, **found._asdict())
        temporary.replace(path)
        print(f"{folder.name}: {data.names[index]}, {time.monotonic() - start:.1f} s", flush=True)
    with np.load(path) as file:
        return Grams(**file)

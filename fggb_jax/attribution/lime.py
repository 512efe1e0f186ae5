"""LIME: a linear model of the cosine in which parts of the face are seen.

Ribeiro, Singh and Guestrin, "Why Should I Trust You?", arXiv 1602.04938, KDD 2016, with the cosine
to the fixed other face in place of a class's score.

The face is cut into segments: k-means of colour and place. Random halves of them are seen, the
others are hidden. With x the 0 or 1 of each segment, weights exp(−d²/width²) of the cosine distance
d of x to the whole face and a ridge penalty,

    minimise Σ_x exp(−d²/width²) (c_x − b₀ − Σ_j b_j x_j)² + penalty · Σ_j b_j²

and S is b_j all over segment j: how the cosine rises by the segment's being seen. The authors'
package has the square root of these weights, the same as a width √2 times as large.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from fggb_jax.attribution.comparison import Comparison
from fggb_jax.attribution.options import whole, within
from fggb_jax.attribution.perturbation import Fill, affordable, fill_of, hidden_cosines
from fggb_jax.attribution.registry import face_method

ROUNDS = 10  # of k-means


@face_method("lime", "LIME", gradients=False)
def lime(
    c: Comparison,
    *,
    segments: int = 49,
    samples: int = 500,
    width: float = 0.25,
    penalty: float = 1.0,
    compactness: float = 0.5,
    fill: Fill | Literal["segment"] = "segment",
    seed: int = 0,
    forwards: int | None = None,
) -> Float[np.ndarray, "H W"]:
    """The coefficients of the segments in a linear model of the cosine.

    Args:
        c: the image and what it is compared with.
        segments: about how many: the square grid from which k-means starts has no more.
        samples: how many faces of which some segments are seen, a forward pass each; the whole face
            counts besides.
        width: of the weights, in cosine distance.
        penalty: of the ridge, 1 as in the authors' package.
        compactness: a step of the grid counts as much as so large a difference of colour.
        fill: what hides: "segment", each segment's mean colour as in the package, or see `fill_of`.
        seed: of the samples.
        forwards: at most that many forward passes a face; `samples` where None.

    Raises:
        OptionError: an option that makes no sense, or fewer than 1 forward pass.
    """
    count = affordable(samples, forwards, "samples")
    within("width", width, 0, math.inf)
    within("penalty", penalty, 0, math.inf)
    image = np.asarray(c.image)
    labels = superpixels(image, segments, within("compactness", compactness, 0, math.inf))
    rng = np.random.default_rng(whole("seed", seed, 0))
    seen = rng.random((count, labels.max() + 1)) < 0.5
    hides = _means(image, labels) if fill == "segment" else fill_of(c.image, fill)
    values = hidden_cosines(c, Hidden(seen, labels), hides)
    # The face as it is belongs to the samples, as in the package; it is known already.
    seen = np.concatenate([np.ones((1, seen.shape[1]), bool), seen])
    values = np.concatenate([[c.cosine], values])
    return ridge(seen, values, kernel(seen, width), penalty)[labels]


@dataclass(frozen=True)
class Hidden:
    """Masks that hide segments.

    Attributes:
        seen: which segments each mask leaves.
        labels: the segment of each pixel.
    """

    seen: Bool[np.ndarray, "K S"]
    labels: Int[np.ndarray, "H W"]

    def __len__(self) -> int:
        return len(self.seen)

    def __getitem__(self, part: slice) -> Float[np.ndarray, "b H W"]:
        return (~self.seen[part])[:, self.labels].astype(np.float32)


def superpixels(
    image: Float[np.ndarray, "H W 3"], segments: int, compactness: float
) -> Int[np.ndarray, "H W"]:
    """Segments of an image by k-means of colour and place, from a square grid; numbered from 0.

    Args:
        image: in [0, 1].
        segments: at most that many.
        compactness: a step of the grid counts as much as so large a difference of colour.

    Raises:
        OptionError: no segment, or more than pixels.
    """
    height, width, _ = image.shape
    side = math.isqrt(whole("segments", segments, 1, min(height, width) ** 2))
    rows, columns = np.indices((height, width), np.float32) + 0.5
    start = (rows * side / height).astype(int) * side + (columns * side / width).astype(int)
    places = np.stack([rows / height, columns / width], -1) * (side * compactness)
    features = np.concatenate([image, places], -1).reshape(-1, 5).astype(np.float32)
    labels = start.ravel()
    for _ in range(ROUNDS):
        centres = _centres(features, labels)
        apart = (centres**2).sum(1) - 2 * features @ centres.T
        labels = np.argmin(apart, 1)
    return np.unique(labels, return_inverse=True)[1].reshape(height, width)


def _centres(features: Float[np.ndarray, "P F"], labels: Int[np.ndarray, " P"]) -> np.ndarray:
    """The mean of each segment that has a pixel."""
    _, labels, counts = np.unique(labels, return_inverse=True, return_counts=True)
    sums = [np.bincount(labels, feature) for feature in features.T]
    return (np.stack(sums, -1) / counts[:, None]).astype(np.float32)


def _means(image: Float[np.ndarray, "H W 3"], labels: Int[np.ndarray, "H W"]) -> np.ndarray:
    """Each segment in its mean colour."""
    return _centres(image.reshape(-1, 3), labels.ravel()).clip(0, 1)[labels]


def kernel(seen: Bool[np.ndarray, "K S"], width: float) -> Float[np.ndarray, " K"]:
    """exp(−d²/width²) of the cosine distance d to what has all segments; 1 from what has none."""
    apart = 1 - np.sqrt(seen.mean(1))
    return np.exp(-((apart / width) ** 2))


def ridge(
    inputs: Float[np.ndarray, "K S"] | Bool[np.ndarray, "K S"],
    outputs: Float[np.ndarray, " K"],
    weights: Float[np.ndarray, " K"],
    penalty: float,
) -> Float[np.ndarray, " S"]:
    """The coefficients of a weighted ridge regression; its constant is not penalised."""
    inputs = inputs - np.average(inputs, axis=0, weights=weights)
    outputs = outputs - np.average(outputs, weights=weights)
    weighted = inputs * weights[:, None]
    return np.linalg.solve(
        weighted.T @ inputs + penalty * np.eye(inputs.shape[1]), weighted.T @ outputs
    )

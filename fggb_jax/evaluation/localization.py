"""Constructed ground truth: does a map find the one region in which a pair differs, or agrees?

Two questions about a composite A' (see `composites`), which has a region of another person C:

- (A', B) with B of the same person as A: the region speaks against the match, so that the
  DISSIMILARITY map should lie in it;
- (A', C): the region alone speaks for it, so that the SIMILARITY map should.

A map answers in three ways, each with the region's share of the area as its chance:

- auprc: the area under the precision–recall curve of the map as a ranking of the region's pixels,
  Σ_g (R_g − R_{g−1}) P_g over the map's distinct values g, highest first; ties come together.
- mass: the share of the map's sum that lies in the region.
- pointing: whether the maximum does (Zhang et al., "Top-down Neural Attention by Excitation
  Backprop", arXiv 1608.00507, ECCV 2016); of several maxima, the share that does.

Ranking and maximum are those of the smoothed map, σ = 6 of 112 pixels: a map of gradients has its
values in single pixels, and a region is no smaller than that. The mass is that of the map itself,
which smoothing would only carry over the region's edge.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from fggb_jax.attribution.perturbation import blurred
from fggb_jax.evaluation.composites import composite
from fggb_jax.evaluation.judgement import Case, Explainer, Scores, judge

SMOOTHING = 6 / 112  # σ, as a share of the map's height

_QUESTIONS = ("dissimilarity", "similarity")
_ANSWERS = ("auprc", "mass", "pointing")
_SCORES = tuple(f"{question}_{answer}" for question in _QUESTIONS for answer in _ANSWERS)


@judge("ground_truth", "Constructed ground truth", dict.fromkeys(_SCORES, "higher"))
def ground_truth(case: Case, explain: Explainer) -> Scores:
    """Whether the map finds a region that was replaced; two explanations.

    Returns:
        `dissimilarity_auprc`, `_mass`, `_pointing`, the same of `similarity`, and `area`, the
        chance of all of them. All are NaN for impostor pairs, which differ everywhere already.
    """
    if not case.same:
        return dict.fromkeys((*_SCORES, "area"), float("nan"))
    made = composite(case)
    maps = {
        "dissimilarity": explain(made.image, case.gallery).dissimilarity,
        "similarity": explain(made.image, case.others[0]).similarity,
    }
    found = {
        f"{question}_{answer}": value
        for question, values in maps.items()
        for answer, value in zip(_ANSWERS, answers(values, made.region), strict=True)
    }
    return {**found, "area": made.area}


def answers(
    values: Float[np.ndarray, "H W"], region: Bool[np.ndarray, "H W"]
) -> tuple[float, float, float]:
    """(auprc, mass, pointing) of a map ≥ 0 for a region; NaN where it is not finite.

    An empty map has the chance, the region's area, in the first and the last, and no mass.
    """
    values = np.asarray(values, np.float64)
    if not np.isfinite(values).all():
        return float("nan"), float("nan"), float("nan")
    smooth = smoothed(values)
    return average_precision(smooth, region), mass(values, region), pointing(smooth, region)


def average_precision(values: Float[np.ndarray, "H W"], region: Bool[np.ndarray, "H W"]) -> float:
    """The area under the precision–recall curve, tied pixels retrieved together.

    Args:
        values: finite; the higher, the sooner a pixel is retrieved.
        region: the pixels that should be; one at least.
    """
    _, level = np.unique(-values, return_inverse=True)
    level = level.ravel()
    hits = np.bincount(level, region.ravel().astype(np.float64))
    precision = np.cumsum(hits) / np.cumsum(np.bincount(level))
    return float(hits @ precision / hits.sum())


def mass(values: Float[np.ndarray, "H W"], region: Bool[np.ndarray, "H W"]) -> float:
    """The share of a map's sum that lies in the region; NaN for an empty map."""
    total = values.sum()
    return float(values[region].sum() / total) if total > 0 else float("nan")


def pointing(values: Float[np.ndarray, "H W"], region: Bool[np.ndarray, "H W"]) -> float:
    """1 where the maximum lies in the region, 0 where not; of several, the share that does."""
    return float(region[values == values.max()].mean())


def smoothed(values: Float[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
    """The map as it is ranked."""
    if np.ptp(values) == 0:
        return values  # the rounding of a blur would rank what is tied
    scale = np.abs(values).max()  # float32 has no room for the tails of a tiny map
    return np.asarray(blurred(jnp.asarray(values / scale, jnp.float32), SMOOTHING * len(values)))

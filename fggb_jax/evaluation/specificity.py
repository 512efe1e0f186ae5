"""Specificity: how much of a map is about the pair, and how much about the probe alone.

A map of the probe that stays the same whoever it is compared with explains no comparison. The
probe is explained against the gallery image and against other persons, and the couples of these
maps S_i, S_j are compared:

    mean over i < j of |ρ(S_i, S_j)|

The absolute value, since a map that only changes its sign with the decision, such as (cos − t)
times the image's own map, has told nothing about the partner; magnitude FGGB is nearly such a map.
Noise is specific as well: read this beside `stability`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np

from fggb_jax.evaluation.correlation import cosine, spearman
from fggb_jax.evaluation.judgement import Case, Explainer, Scores, judge

OTHERS = 2  # persons that the probe is compared with besides; fewer where the case has fewer


@judge(
    "specificity",
    "Dependence on the partner",
    {"rank_correlation": "lower", "cosine": "lower"},
)
def specificity(case: Case, explain: Explainer) -> Scores:
    """How alike the probe's maps for different partners are; 1 + `OTHERS` explanations.

    Returns:
        `rank_correlation` and `cosine`, means of absolute values in [0, 1] over the couples of
        signed maps; 1 where the partner changes nothing but size and sign. A couple with a constant
        map, or for the cosine with an empty one, does not count; NaN where none does.
    """
    partners = [case.gallery, *case.others[:OTHERS]]
    maps = [explain(case.probe, partner).signed for partner in partners]
    return {"rank_correlation": _mean(spearman, maps), "cosine": _mean(cosine, maps)}


def _mean(alike: Callable[..., float], maps: list[np.ndarray]) -> float:
    found = np.abs([alike(a, b) for a, b in combinations(maps, 2)])
    found = found[~np.isnan(found)]
    return float(found.mean()) if found.size else float("nan")

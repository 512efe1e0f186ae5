"""Deletion and insertion: what a decision becomes when the pixels that a map marks are removed.

Petsiuk, Das, Saenko, "RISE", arXiv 1806.07421, BMVC 2018, for verification by Lu, Xu, Ebrahimi,
arXiv 2305.08546, and as FAME (arXiv 2605.12017) restates it. Only the probe is changed. For
P = 0, 10, …, 100 %, deletion removes the P % most salient pixels and insertion keeps only these;
what is removed becomes black, blurred, or the data set's mean face. With y(P) the decision's
correctness, or the cosine,

    score = ∫ y dP / 100 %    by the trapezoid rule.

The area is linear in y: the mean over pairs of the pairs' areas is the area of the mean curve, so
of the curve of the accuracy at the fixed threshold that papers show.

Three judges share the same forward passes, 54 for each map and 4 for the pair:

- `deletion_insertion`, FAME's: similarity maps of all pairs, the accuracy over both kinds. Removal
  makes few impostors acceptable, whatever the map: these add a constant near 100 %.
- `conditional_deletion_insertion`: similarity maps of genuine and dissimilarity maps of impostor
  pairs, the accuracy over each kind. A dissimilarity map is good when removing what it marks makes
  a non-match look like a match, so that accuracy falls: of both kinds a low deletion is good.
- `cosine_deletion_insertion`: the same with the cosine for y, which needs no threshold and varies
  less from pair to pair. Of impostor pairs a HIGH deletion is good: their cosine should rise.

An empty map (`ranking`) removes nothing; its scores are NaN, and `empty` is the share of such maps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Literal, get_args

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from fggb_jax.attribution.perturbation import Fill, fill_of
from fggb_jax.evaluation.judgement import Better, Case, Explainer, Scores, judge
from fggb_jax.evaluation.once import once
from fggb_jax.evaluation.ranking import prefixes, ranked

Removed = Literal["black", "blur", "mean_face"]

FILLS = get_args(Removed)
PERCENT = tuple(range(0, 101, 10))

BETTER: dict[str, Better] = {"deletion": "lower", "insertion": "higher"}
TURNED: dict[str, Better] = {"deletion": "higher", "insertion": "lower"}
ORDERS = {f"{way}_{fill}": way for fill in FILLS for way in BETTER}  # curve → which way
EMPTY: dict[str, Better] = {"empty": "lower"}

Curves = Mapping[str, Float[np.ndarray, " P"]]


def _of_kinds(impostor: Mapping[str, Better], of: str = "") -> dict[str, Better]:
    scores: dict[str, Better] = {
        f"{kind}_{of}{name}": better[way]
        for kind, better in (("genuine", BETTER), ("impostor", impostor))
        for name, way in ORDERS.items()
    }
    return {**scores, **EMPTY}


def _drawn(scores: Mapping[str, Better]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The curve behind each score."""
    axis = {"deletion": "pixels removed, %", "insertion": "pixels kept, %"}
    return {
        f"{name}_curve": (axis["deletion" if "deletion" in name else "insertion"], PERCENT)
        for name in scores
        if name != "empty"
    }


ALL: dict[str, Better] = {**{name: BETTER[way] for name, way in ORDERS.items()}, **EMPTY}
CONDITIONAL = _of_kinds(BETTER)
COSINE = _of_kinds(TURNED, "cosine_")


@judge("deletion_insertion", "Deletion and insertion, all pairs", ALL, _drawn(ALL))
def deletion_insertion(case: Case, explain: Explainer) -> Scores:
    """Accuracy in % while pixels go by the similarity map, of either kind of pair."""
    order = ranked(explain(case.probe, case.gallery).similarity)
    right = {name: _right(case, cosines) for name, cosines in _along(case, order).items()}
    return {"empty": float(order is None), **_scored(right, 100)}


@judge(
    "conditional_deletion_insertion",
    "Deletion and insertion, each kind of pair by its own map",
    CONDITIONAL,
    _drawn(CONDITIONAL),
)
def conditional_deletion_insertion(case: Case, explain: Explainer) -> Scores:
    """Accuracy in % by the similarity map of a genuine, the dissimilarity map of an impostor pair.

    NaN for the other kind.
    """
    own, empty = _own(case, explain)
    right = {name: _right(case, cosines) for name, cosines in own.items()}
    return {"empty": empty, **_scored(_by_kind(case, right), 100)}


@judge(
    "cosine_deletion_insertion",
    "Deletion and insertion, cosine, each kind of pair by its own map",
    COSINE,
    _drawn(COSINE),
)
def cosine_deletion_insertion(case: Case, explain: Explainer) -> Scores:
    """As `conditional_deletion_insertion`, the mean cosine in place of the accuracy."""
    own, empty = _own(case, explain)
    return {"empty": empty, **_scored(_by_kind(case, own, "cosine_"), 1)}


def removal_cosines(case: Case, order: Int[np.ndarray, " H*W"]) -> Curves:
    """The cosine to the gallery image while the probe's pixels are removed in an order.

    Args:
        case: the pair.
        order: the pixels, most salient first: `ranking.ranked`.

    Returns:
        "deletion_black", "insertion_black", "deletion_blur", … → (11,) over `PERCENT`. The last
        value of a deletion is the first of the insertion, and the other way round.
    """
    key = ("removal", hashlib.sha256(np.ascontiguousarray(order).tobytes()).digest())
    return once(case, key, lambda: _removal_cosines(case, order))


def _removal_cosines(case: Case, order: np.ndarray) -> Curves:
    height, width, _ = case.probe.shape
    counts = [round(len(order) * percent / 100) for percent in PERCENT[1:-1]]
    salient = prefixes(order, counts, (height, width))[..., None]
    fills = {fill: hiding(case, fill) for fill in FILLS}
    untouched, *all_hidden = _ends(case, fills)
    images = [
        np.where(salient, *pair)
        for hidden in fills.values()
        for pair in ((hidden, case.probe), (case.probe, hidden))
    ]
    cosines = case.cosines(np.concatenate(images)).reshape(len(FILLS), 2, -1)
    curves = {}
    for fill, hidden, (deleted, inserted) in zip(FILLS, all_hidden, cosines, strict=True):
        curves[f"deletion_{fill}"] = np.r_[untouched, deleted, hidden]
        curves[f"insertion_{fill}"] = np.r_[hidden, inserted, untouched]
    return curves


def _ends(case: Case, fills: Mapping[str, np.ndarray]) -> Float[np.ndarray, " F"]:
    """The cosine of the probe and of each fill alone, the same for all maps."""
    images = np.stack([case.probe, *fills.values()])
    return once(case, "removal ends", lambda: case.cosines(images))


def hiding(case: Case, fill: Removed | Fill) -> Float[np.ndarray, "H W 3"]:
    """What is seen where the probe is removed: one of `FILLS`, or another of `fill_of`."""
    if fill == "mean_face":
        return case.mean_face
    # A blur's weights add up to 1 but for rounding, and images outside of [0, 1] are refused.
    return np.clip(np.asarray(fill_of(jnp.asarray(case.probe), fill)), 0, 1)


def _along(case: Case, order: np.ndarray | None) -> Curves:
    if order is None:
        return {name: np.full(len(PERCENT), np.nan) for name in ORDERS}
    return removal_cosines(case, order)


def _own(case: Case, explain: Explainer) -> tuple[Curves, float]:
    """The cosines along the map of the pair's own kind, and whether it is empty."""
    reading = explain(case.probe, case.gallery)
    order = ranked(reading.similarity if case.same else reading.dissimilarity)
    return _along(case, order), float(order is None)


def _by_kind(case: Case, own: Curves, of: str = "") -> Curves:
    """The curves under the name of the pair's kind; NaN under that of the other."""
    kinds = {"genuine": case.same, "impostor": not case.same}
    return {
        f"{kind}_{of}{name}": curve if is_it else np.full_like(curve, np.nan)
        for kind, is_it in kinds.items()
        for name, curve in own.items()
    }


def _right(case: Case, cosines: np.ndarray) -> np.ndarray:
    """1 where the pair is decided rightly, 0 where not; NaN stays."""
    right = (cosines >= case.threshold) == case.same
    return np.where(np.isnan(cosines), np.nan, right.astype(np.float64))


def _scored(curves: Curves, scale: float) -> dict[str, float | list[float]]:
    scores: dict[str, float | list[float]] = {n: scale * area(c) for n, c in curves.items()}
    return scores | {f"{name}_curve": curve.tolist() for name, curve in curves.items()}


def area(curve: Float[np.ndarray, " P"]) -> float:
    """The mean height of a curve over equal steps, by the trapezoid rule."""
    return float(np.trapezoid(curve) / (len(curve) - 1))

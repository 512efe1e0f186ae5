"""Deletion and insertion: what a decision becomes when the pixels that a map marks are removed.

Petsiuk, Das, Saenko, "RISE", arXiv 1806.07421, BMVC 2018, for verification by Lu, Xu, Ebrahimi,
arXiv 2305.08546, and as FAME (arXiv 2605.12017) restates it. Only the probe is changed. For
P = 0, 10, …, 100 %, deletion removes the P % most salient pixels and insertion keeps only these;
what is removed becomes black, blurred, or the data set's mean face. With y(P) the decision's
correctness, or the cosine,

    score = ∫ y dP / 100 %    by the trapezoid rule.

The area is linear in y: the mean over pairs of the pairs' areas is the area of the mean curve, so
of the curve of the accuracy at the fixed threshold that papers show.

Three judgements, each a judge for every fill: black, as published, by the plain name, the others
by `name_blur` and `name_mean_face`. The judges of a fill share their forward passes, 18 for each
map and 2 for the pair.

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

import contextlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal, get_args

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from fggb_jax.attribution.perturbation import Fill, fill_of
from fggb_jax.errors import FggbError
from fggb_jax.evaluation.judgement import Better, Case, Explainer, Scores, judge
from fggb_jax.evaluation.once import is_kept, once
from fggb_jax.evaluation.ranking import prefixes, ranked
from fggb_jax.evaluation.remembered import digest

Removed = Literal["black", "blur", "mean_face"]

FILLS = get_args(Removed)
PERCENT = tuple(range(0, 101, 10))
TOGETHER = 8  # maps that are removed by at once: batches of one map's 18 images waste their ends

BETTER: dict[str, Better] = {"deletion": "lower", "insertion": "higher"}
TURNED: dict[str, Better] = {"deletion": "higher", "insertion": "lower"}

# Of Lu, Xu, Ebrahimi, arXiv 2403.04549.
QUOTED = (
    "Published for LFW, quoted second-hand, not verified here, the model not stated; which score "
    "it is, is inferred. Genuine deletion: FGGB 24.18, CorrRISE 24.51, LIME 35.82. Impostor "
    "deletion: FGGB 44.03, xSSAB 49.72."
)

Curves = Mapping[str, Float[np.ndarray, " P"]]


def deletion_insertion(case: Case, explain: Explainer, fill: Removed) -> Scores:
    """Accuracy in % while pixels go by the similarity map, of either kind of pair."""
    order = _similarity(case, explain)
    along = _along(case, order, fill)
    right = {name: _right(case, cosines) for name, cosines in along.items()}
    return {"empty": float(order is None), **_scored(right, 100)}


def conditional_deletion_insertion(case: Case, explain: Explainer, fill: Removed) -> Scores:
    """Accuracy in % by the similarity map of a genuine, the dissimilarity map of an impostor pair.

    NaN for the other kind.
    """
    order = _own(case, explain)
    along = _along(case, order, fill)
    right = {name: _right(case, cosines) for name, cosines in along.items()}
    return {"empty": float(order is None), **_scored(_by_kind(case, right), 100)}


def cosine_deletion_insertion(case: Case, explain: Explainer, fill: Removed) -> Scores:
    """As `conditional_deletion_insertion`, the mean cosine in place of the accuracy."""
    order = _own(case, explain)
    along = _along(case, order, fill)
    return {"empty": float(order is None), **_scored(_by_kind(case, along, "cosine_"), 1)}


def _register(fill: Removed) -> None:
    """The three judges of a fill."""
    behind, seen = ("", "black") if fill == "black" else (f"_{fill}", fill.replace("_", " "))
    kinds = f"Deletion and insertion, {seen}, each kind of pair by its own map"
    cosine = f"{kinds}: cosine"
    of_all: dict[str, Better] = {f"{way}_{fill}": better for way, better in BETTER.items()}
    for function, title, scores, order in (
        (deletion_insertion, f"Deletion and insertion, {seen}, all pairs", of_all, _similarity),
        (conditional_deletion_insertion, kinds, _of_kinds(fill, BETTER), _own),
        (cosine_deletion_insertion, cosine, _of_kinds(fill, TURNED, "cosine_"), _own),
    ):
        register = judge(
            f"{function.__name__}{behind}",
            title,
            {**scores, "empty": "lower"},
            _drawn(scores),
            partial(_prepare, fill=fill, order=order),
            QUOTED if fill == "black" and function is conditional_deletion_insertion else "",
        )
        register(partial(function, fill=fill))


def _of_kinds(fill: Removed, impostor: Mapping[str, Better], of: str = "") -> dict[str, Better]:
    return {
        f"{kind}_{of}{way}_{fill}": better[way]
        for kind, better in (("genuine", BETTER), ("impostor", impostor))
        for way in BETTER
    }


def _drawn(scores: Mapping[str, Better]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The curve behind each score."""
    axis = {"deletion": "pixels removed, %", "insertion": "pixels kept, %"}
    return {
        f"{name}_curve": (axis["deletion" if "deletion" in name else "insertion"], PERCENT)
        for name in scores
    }


def removal_cosines(case: Case, order: Int[np.ndarray, " H*W"], fill: Removed) -> Curves:
    """The cosine to the gallery image while the probe's pixels are removed in an order.

    Args:
        case: the pair.
        order: the pixels, most salient first: `ranking.ranked`.
        fill: what is seen in their place.

    Returns:
        "deletion_black" and "insertion_black", or of another fill, → (11,) over `PERCENT`. The last
        value of a deletion is the first of the insertion, and the other way round.
    """
    return once(case, _key(order, fill), lambda: _removal_cosines(case, [order], fill)[0])


def _key(order: np.ndarray, fill: Removed) -> tuple[str, str, bytes]:
    return "removal", fill, digest(order)


def _prepare(
    case: Case,
    explainers: Sequence[Explainer],
    fill: Removed,
    order: Callable[[Case, Explainer], np.ndarray | None],
) -> None:
    """`removal_cosines` of many maps, a few at a time."""
    orders = {}
    for explain in explainers:
        with contextlib.suppress(FggbError):  # one map's fault is not the others'
            if (found := order(case, explain)) is not None:
                orders[_key(found, fill)] = found
    keys = [key for key in orders if not is_kept(case, key)]
    for start in range(0, len(keys), TOGETHER):
        some = keys[start : start + TOGETHER]
        made = _removal_cosines(case, [orders[key] for key in some], fill)
        for key, curves in zip(some, made, strict=True):
            once(case, key, lambda curves=curves: curves)


def _removal_cosines(case: Case, orders: Sequence[np.ndarray], fill: Removed) -> list[Curves]:
    height, width, _ = case.probe.shape
    counts = [round(height * width * percent / 100) for percent in PERCENT[1:-1]]
    hidden, ends = once(case, ("removal", fill), lambda: _untouched_and_hidden(case, fill))
    images = []
    for order in orders:
        salient = prefixes(order, counts, (height, width))[..., None]
        images += [np.where(salient, hidden, case.probe), np.where(salient, case.probe, hidden)]
    cosines = case.cosines(np.concatenate(images)).reshape(len(orders), 2, -1)
    return [
        {
            f"deletion_{fill}": np.r_[ends[0], deleted, ends[1]],
            f"insertion_{fill}": np.r_[ends[1], inserted, ends[0]],
        }
        for deleted, inserted in cosines
    ]


def _untouched_and_hidden(
    case: Case, fill: Removed
) -> tuple[Float[np.ndarray, "H W 3"], Float[np.ndarray, " 2"]]:
    """What hides, and the cosine of the probe and of this alone: the same for all maps."""
    hidden = hiding(case, fill)
    return hidden, case.cosines(np.stack([case.probe, hidden]))


def hiding(case: Case, fill: Removed | Fill) -> Float[np.ndarray, "H W 3"]:
    """What is seen where the probe is removed: one of `FILLS`, or another of `fill_of`."""
    if fill == "mean_face":
        return case.mean_face
    # A blur's weights add up to 1 but for rounding, and images outside of [0, 1] are refused.
    return np.clip(np.asarray(fill_of(jnp.asarray(case.probe), fill)), 0, 1)


def _along(case: Case, order: np.ndarray | None, fill: Removed) -> Curves:
    if order is None:
        return {f"{way}_{fill}": np.full(len(PERCENT), np.nan) for way in BETTER}
    return removal_cosines(case, order, fill)


def _similarity(case: Case, explain: Explainer) -> np.ndarray | None:
    """The pixels by the similarity map; None where it is empty."""
    return ranked(explain(case.probe, case.gallery).similarity)


def _own(case: Case, explain: Explainer) -> np.ndarray | None:
    """The pixels by the map of the pair's own kind; None where it is empty."""
    reading = explain(case.probe, case.gallery)
    return ranked(reading.similarity if case.same else reading.dissimilarity)


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


for _fill in FILLS:
    _register(_fill)

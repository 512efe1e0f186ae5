"""Patch-LFW and decision-based patch replacement: can a map tell which pixels are not the face's?

Huber, Luu, Terhörst, Damer, "Efficient Explainable Face Verification based on Similarity Score
Argument Backpropagation" (xSSAB), arXiv 2304.13409, WACV 2024, and its public code.

Random square patches of another face are set into the probe, where they lie in the other: into a
genuine pair's probe those of another person, into an impostor pair's those of the gallery image.
This makes errors. The map of the patched probe then says in which order its pixels are restored:
where the pair is rejected the lowest S⁺ − S⁻ first (what speaks against the match), where it is
accepted the highest first. Restored are X = 0, 5, …, 95 % of ALL pixels, of which most were not
patched, and the decision is asked each time:

    FNMR(X) of genuine pairs, FMR(X) of impostor pairs; score = ∫ over X ÷ range · 100.

Both also for a random order, the same for all methods; the gain is the random order's area less the
map's, so 0 for a map that knows nothing and below 0 for one that restores the wrong pixels. All
pairs count, as in the paper's code, also those that the patches did not make errors of. In that
code an image that is in several pairs collects the patches of all of them; here each pair has its
own.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from fggb_jax.evaluation.judgement import Better, Case, Explainer, Reading, Scores, judge
from fggb_jax.evaluation.once import once
from fggb_jax.evaluation.ranking import prefixes, ranked
from fggb_jax.evaluation.removal import area

PATCHES = 27
SIDE = 1 / 7  # of the image's height: 16 pixels of 112
PERCENT = tuple(range(0, 100, 5))
NAME = "patch_replacement"

RATES = {True: "fnmr", False: "fmr"}  # the error of a genuine pair, of an impostor pair
SCORES: dict[str, Better] = {
    "fnmr": "lower",
    "fmr": "lower",
    "fnmr_gain": "higher",
    "fmr_gain": "higher",
    "empty": "lower",
}
CURVES = {
    f"{rate}_{kind}": ("pixels restored, %", PERCENT)
    for rate in RATES.values()
    for kind in ("curve", "random_curve")
}


@judge(NAME, "Patches of another face, restored by the map", SCORES, CURVES)
def patch_replacement(case: Case, explain: Explainer) -> Scores:
    """Errors in % while the patched probe is restored, of the map's order and of a random one.

    NaN for the other kind's rate, and for a map that is empty.
    """
    probe, at_random = once(case, NAME, lambda: _patched_and_restored_at_random(case))
    accepted = bool(at_random[0] >= case.threshold)
    order = restored_first(explain(probe, case.gallery), accepted)
    rate = RATES[case.same]
    random = _wrong(case, at_random)
    scores = dict.fromkeys(SCORES, np.nan) | {"empty": float(order is None)}
    curves = {name: [np.nan] * len(PERCENT) for name in CURVES}
    curves[f"{rate}_random_curve"] = random.tolist()
    if order is not None:
        cosines = np.r_[at_random[0], case.cosines(restored(case, probe, order))]
        wrong = _wrong(case, cosines)
        curves[f"{rate}_curve"] = wrong.tolist()
        scores[rate] = 100 * area(wrong)
        scores[f"{rate}_gain"] = 100 * (area(random) - area(wrong))
    return {**scores, **curves}


def patched(case: Case) -> Float[np.ndarray, "H W 3"]:
    """The probe with `PATCHES` random patches of another face; they may overlap."""
    rng = case.rng(NAME)
    other = case.others[rng.integers(len(case.others))] if case.same else case.gallery
    height, width, _ = case.probe.shape
    side = max(1, round(SIDE * height))
    out = case.probe.copy()
    rows = rng.integers(0, height - side + 1, PATCHES)
    columns = rng.integers(0, width - side + 1, PATCHES)
    for y, x in zip(rows, columns, strict=True):
        out[y : y + side, x : x + side] = other[y : y + side, x : x + side]
    return out


def restored_first(reading: Reading, accepted: bool) -> np.ndarray | None:
    """The order in which pixels are restored: what speaks for the present decision first.

    Args:
        reading: of the patched probe.
        accepted: the decision on it.

    Returns:
        (H·W,) as of `ranking.ranked`; None for an empty map.
    """
    return ranked(reading.signed if accepted else -reading.signed)


def restored(
    case: Case, probe: Float[np.ndarray, "H W 3"], order: np.ndarray
) -> Float[np.ndarray, "K H W 3"]:
    """The patched probe with the first 5, 10, …, 95 % of its pixels restored."""
    counts = [round(len(order) * percent / 100) for percent in PERCENT[1:]]
    height, width, _ = probe.shape
    return np.where(prefixes(order, counts, (height, width))[..., None], case.probe, probe)


def _patched_and_restored_at_random(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """The patched probe, and the cosines from it onwards in a random order: of no map."""
    probe = patched(case)
    order = case.rng(f"{NAME} at random").permutation(probe[..., 0].size)
    images = np.concatenate([probe[None], restored(case, probe, order)])
    return probe, case.cosines(images)


def _wrong(case: Case, cosines: np.ndarray) -> np.ndarray:
    return ((cosines >= case.threshold) != case.same).astype(np.float64)

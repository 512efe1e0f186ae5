"""Error rates of verification, exact and with ties: ROC, AUC, EER, TAR at FAR, thresholds.

A pair is accepted where its score ≥ t. FMR (also FAR) is the share of impostor pairs accepted, FNMR
that of genuine pairs rejected, TAR = 1 − FNMR. All of them change only where t passes a score, so a
CUT says everything: cut j of the D distinct scores, in rising order, rejects the j lowest; cut 0
accepts all, cut D nothing. Every rate is a function of the pairs rejected at the cuts (`Rejected`),
of one set of pairs or of B resamples of it alike.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from fggb_jax.errors import OptionError

FARS = (1e-1, 1e-2, 1e-3, 1e-4)


class Rejected(NamedTuple):
    """How many pairs each cut rejects, of B weightings of the same pairs.

    Attributes:
        genuine: (B, D + 1) int64, from 0 to the number of genuine pairs.
        impostor: (B, D + 1) int64.
    """

    genuine: np.ndarray
    impostor: np.ndarray


class Roc(NamedTuple):
    """Both error rates at every threshold that makes a difference.

    Attributes:
        thresholds: (D + 1,) falling: +∞, then each distinct score; accepted is score ≥ t.
        fmr: (D + 1,) rising from 0 to 1.
        fnmr: (D + 1,) falling from 1 to 0.
    """

    thresholds: np.ndarray
    fmr: np.ndarray
    fnmr: np.ndarray


class Eer(NamedTuple):
    """The equal error rate, a fraction of 1, and its threshold."""

    eer: float
    threshold: float


class TarAtFar(NamedTuple):
    """The share of genuine pairs accepted while few impostors are.

    Attributes:
        far: that was asked for.
        tar: None where this FAR cannot be measured.
        threshold: of `tar`.
        reason: why there is no figure; empty where there is one.
    """

    far: float
    tar: float | None
    threshold: float | None
    reason: str = ""


def roc(scores: Any, same: Any) -> Roc:
    """FMR and FNMR at every distinct score, ties accepted or rejected together.

    Args:
        scores: (P,) finite; the higher, the more alike.
        same: (P,) bool, or 0 and 1: whether a pair is genuine.

    Raises:
        OptionError: the scores or labels allow no measurement; see `checked`.
    """
    edges, rejected = tally(*checked(scores, same))
    genuine, impostor = rejected.genuine[0], rejected.impostor[0]
    fmr, fnmr = 1 - impostor / impostor[-1], genuine / genuine[-1]
    return Roc(np.append(edges, np.inf)[::-1], fmr[::-1], fnmr[::-1])


def auc(scores: Any, same: Any) -> float:
    """The share of (genuine, impostor) couples that are ordered rightly; ties count half.

    Arguments and errors as of `roc`.
    """
    return float(area(tally(*checked(scores, same))[1])[0])


def eer(scores: Any, same: Any) -> Eer:
    """The equal error rate by the midpoint rule.

    As t rises FMR falls and FNMR rises, both in steps, and mostly there is no t at which they are
    equal. The threshold is the middle of the interval between scores in which they differ least
    (of both intervals together where two are equally good), the EER the mean of the two there.
    Arguments and errors as of `roc`.
    """
    edges, rejected = tally(*checked(scores, same))
    rate, first, last = equal_error(rejected)
    return Eer(float(rate[0]), _between(edges[first[0] - 1], edges[last[0]]))


def errors_at(scores: Any, same: Any, threshold: float) -> tuple[float, float]:
    """(FMR, FNMR) at a threshold that comes from elsewhere, such as a model's card.

    Arguments and errors as of `roc`.
    """
    scores, labels = checked(scores, same)
    accepted = scores >= threshold
    return float(accepted[~labels].mean()), float((~accepted)[labels].mean())


def tar_at_far(scores: Any, same: Any, far: float) -> TarAtFar:
    """TAR at the lowest threshold whose FAR does not exceed `far`.

    Nothing is interpolated: the threshold must reject the impostor that would be one too many, and
    lies half way from its score to the next higher one. A FAR below 1 / (number of impostor pairs)
    cannot be measured: one impostor more or less is all that it could show.

    Args:
        scores: as of `roc`.
        same: as of `roc`.
        far: in (0, 1].

    Raises:
        OptionError: as of `roc`, or `far` is not in (0, 1].
    """
    edges, rejected = tally(*checked(scores, same))
    return at_far(edges, rejected, far)


def at_far(edges: np.ndarray, rejected: Rejected, far: float) -> TarAtFar:
    """`tar_at_far` from what `tally` returns."""
    if not (isinstance(far, int | float) and 0 < far <= 1):
        raise OptionError(f"FAR {far!r} makes no sense; give a fraction of 1, such as 1e-3")
    impostors = int(rejected.impostor[0, -1])
    if allowed(impostors, far) < 1:
        reason = (
            f"FAR {far:g} cannot be measured with {impostors:,} impostor pairs: one of them is "
            f"{1 / impostors:.2g}; it takes {math.ceil(1 / far - 1e-9):,} at least"
        )
        return TarAtFar(far, None, None, reason)
    tar, cut = accepted_at(rejected, np.array([far]))
    return TarAtFar(far, float(tar[0, 0]), threshold_of(edges, int(cut[0, 0])))


def calibrate(scores: Any, same: Any, rule: str = "eer", data: str = "") -> tuple[float, str]:
    """A threshold, and the sentence that says where it comes from.

    Args:
        scores: as of `roc`.
        same: as of `roc`.
        rule: "eer", or "far=1e-3" with any FAR that can be measured.
        data: what the pairs are, for the sentence: "LFW View 1, faces by YuNet".

    Raises:
        OptionError: as of `roc`, an unknown rule, or a FAR that cannot be measured.
    """
    edges, rejected = tally(*checked(scores, same))
    counts = f"{rejected.genuine[0, -1]:,} genuine and {rejected.impostor[0, -1]:,} impostor pairs"
    where = f"{counts} of {data}" if data else counts
    far = far_of(rule)
    if far is None:
        rate, first, last = equal_error(rejected)
        threshold = _between(edges[first[0] - 1], edges[last[0]])
        return threshold, f"Equal error rate on {where}, EER {percent(rate[0])}"
    found = at_far(edges, rejected, far)
    if found.tar is None or found.threshold is None:
        raise OptionError(found.reason)
    return found.threshold, f"FAR at most {far:g} on {where}, TAR {percent(found.tar)}"


def far_of(rule: str) -> float | None:
    """The FAR that a threshold's rule asks for; None for "eer".

    Raises:
        OptionError: an unknown rule, or a FAR outside of (0, 1].
    """
    if rule == "eer":
        return None
    name, _, value = rule.partition("=")
    try:
        far = float(value) if name == "far" else math.nan
    except ValueError:
        far = math.nan
    if not 0 < far <= 1:
        raise OptionError(f'no rule {rule!r} for a threshold; give "eer", or a FAR as "far=1e-3"')
    return far


def checked(scores: Any, same: Any) -> tuple[np.ndarray, np.ndarray]:
    """(P,) float64 scores and (P,) bool labels that allow a measurement.

    Raises:
        OptionError: not two arrays of one length, fewer than 2 pairs, scores that are not finite
            or all equal, labels missing, not 0 and 1, or of one kind only.
    """
    if same is None:
        raise OptionError(
            "these pairs do not say which are genuine; measuring verification takes labels, such "
            "as the column same"
        )
    scores, labels = np.asarray(scores), np.asarray(same)
    if scores.ndim != 1 or scores.shape != labels.shape:
        raise OptionError(
            f"scores of shape {scores.shape} and labels of shape {labels.shape}; give one of each "
            "for every pair"
        )
    if scores.size < 2:
        raise OptionError(f"{scores.size} scored pairs; a measurement takes 2 at least")
    if scores.dtype.kind not in "fiu" or labels.dtype.kind not in "bfiu":
        raise OptionError(
            f"scores of type {scores.dtype}, labels of type {labels.dtype}; give numbers and bool"
        )
    if (bad := ~np.isfinite(scores)).any():
        raise OptionError(
            f"{bad.sum()} of {len(scores)} scores are not finite, the first at {bad.argmax()}; "
            "leave such pairs out, and count them as dropped"
        )
    if labels.dtype != bool and (bad := (labels != 0) & (labels != 1)).any():
        raise OptionError(
            f"label {labels[bad.argmax()]} at {bad.argmax()}; give 1 for genuine, 0 for impostor"
        )
    labels = labels.astype(bool)
    if labels.all() or not labels.any():
        raise OptionError(
            f"all {len(labels)} scored pairs are {'genuine' if labels[0] else 'impostor'} pairs; "
            "a measurement takes both kinds"
        )
    if (scores == scores[0]).all():
        raise OptionError(f"all {len(scores)} scores are {scores[0]:g}; nothing tells pairs apart")
    return scores.astype(np.float64), labels


def tally(scores: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, Rejected]:
    """The D distinct scores, rising, and what each cut rejects (B = 1)."""
    edges, level = np.unique(scores, return_inverse=True)
    genuine, impostor = (np.bincount(level[kind], minlength=len(edges)) for kind in (same, ~same))
    return edges, rejected_at_cuts(genuine[None], impostor[None])


def rejected_at_cuts(genuine: np.ndarray, impostor: np.ndarray) -> Rejected:
    """From how many pairs have each score, (B, D) int64, in rising order."""

    def cumulative(counts: np.ndarray) -> np.ndarray:
        out = np.zeros((counts.shape[0], counts.shape[1] + 1), np.int64)
        np.cumsum(counts, axis=1, out=out[:, 1:])
        return out

    return Rejected(cumulative(genuine), cumulative(impostor))


def area(rejected: Rejected) -> np.ndarray:
    """(B,) AUC: for each genuine pair the impostors below it, and half of those beside it."""
    genuine, impostor = rejected
    twice = np.sum(np.diff(genuine) * (impostor[:, :-1] + impostor[:, 1:]), axis=1)
    return twice / (2 * genuine[:, -1] * impostor[:, -1])


def equal_error(rejected: Rejected) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(B,) EER, and the first and the last of the cuts at which FMR and FNMR differ least.

    Only cuts between scores count. The difference is compared in whole numbers, so exactly; it
    falls from cut to cut, so that two cuts at most are best, and neighbours, in a sample itself;
    in a resample also those that lie between the same pairs.
    """
    genuine, impostor = (counts[:, 1:-1] for counts in rejected)
    n, m = (counts[:, -1:] for counts in rejected)
    gap = np.abs((m - impostor) * n - genuine * m)
    best = gap == gap.min(axis=1, keepdims=True)
    mean = ((m - impostor) / m + genuine / n) / 2
    low = np.where(best, mean, np.inf).min(axis=1)
    high = np.where(best, mean, -np.inf).max(axis=1)
    first = best.argmax(axis=1) + 1
    return (low + high) / 2, first, best.shape[1] - best[:, ::-1].argmax(axis=1)


def accepted_at(rejected: Rejected, fars: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """TAR (B, G) at the lowest cut whose FAR is at most each of G FARs, and that cut."""
    genuine, impostor = rejected
    rows, cuts = impostor.shape
    need = impostor[:, -1:] - allowed(impostor[:, -1:], fars)  # impostors to reject
    # One search for all rows: each row's counts rise, and rows are set apart.
    apart = np.arange(rows)[:, None] * (impostor.max() + 1)
    place = np.searchsorted((impostor + apart).ravel(), (need + apart).ravel())
    cut = place.reshape(need.shape) - np.arange(rows)[:, None] * cuts
    return 1 - np.take_along_axis(genuine, cut, 1) / genuine[:, -1:], cut


def allowed(impostors: Any, far: Any) -> Any:
    """How many impostor pairs may be accepted; 0.29 of 100 are 29, whatever floats say."""
    return np.floor(np.asarray(far) * impostors + 1e-9).astype(np.int64)


def percent(rate: float) -> str:
    """Two digits; "0.00 %" and "100.00 %" only where it is exactly that."""
    if 0 < rate < 5e-5:
        return "< 0.01 %"
    return "> 99.99 %" if 1 - 5e-5 < rate < 1 else f"{100 * rate:.2f} %"


def threshold_of(edges: np.ndarray, cut: int) -> float:
    """A threshold of a cut: half way between the scores that it parts."""
    if cut == 0:
        return float(edges[0])
    if cut == len(edges):
        return float(np.nextafter(edges[-1], np.inf))
    return _between(edges[cut - 1], edges[cut])


def _between(low: Any, high: Any) -> float:
    """The middle of (low, high]; `high` where floats have nothing in between."""
    middle = float(low / 2 + high / 2)
    return middle if low < middle <= high else float(high)

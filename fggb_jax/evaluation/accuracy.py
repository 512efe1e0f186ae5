"""Accuracy by LFW's protocol: a threshold is judged on other pairs than it was chosen on."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fggb_jax.errors import OptionError
from fggb_jax.evaluation.rates import checked, tally, threshold_of


class TooFewPairs(OptionError):
    """Measurable otherwise, but not to be divided into folds."""


class Accuracy(NamedTuple):
    """The share of pairs that are decided rightly, over the folds.

    Attributes:
        mean: of the folds' accuracies, a fraction of 1.
        standard_error: of that mean: the folds' standard deviation over √F.
        folds: their number F.
        thresholds: (F,) chosen for each fold on the other ones.
    """

    mean: float
    standard_error: float
    folds: int
    thresholds: np.ndarray


def ten_fold_accuracy(scores: Any, same: Any, folds: Any = None, seed: int = 0) -> Accuracy:
    """Accuracy by cross-validation.

    The threshold of a fold is the one with which most pairs of all other folds are decided rightly;
    of several such intervals between scores the middle one, and its middle.

    Args:
        scores: (P,) finite; the higher, the more alike.
        same: (P,) bool, or 0 and 1.
        folds: (P,) which fold a pair belongs to; by default ten random ones that each have their
            share of both kinds, or as many as there are pairs of the rarer kind.
        seed: of the random folds.

    Raises:
        OptionError: as of `rates.roc`, or folds of another length.
        TooFewPairs: fewer than two folds, or such that the pairs outside of one are of one kind.
    """
    scores, labels = checked(scores, same)
    parts = _stratified(labels, seed) if folds is None else np.asarray(folds)
    if parts.shape != labels.shape:
        raise OptionError(f"{parts.size} folds for {labels.size} pairs; give one for each pair")
    names = np.unique(parts)
    if len(names) < 2:
        raise TooFewPairs("all pairs are in one fold; a cross-validation takes two at least")
    rates, thresholds = [], []
    for name in names:
        test = parts == name
        if labels[~test].all() or not labels[~test].any():
            raise TooFewPairs(
                f"without fold {name} all pairs are of one kind, and no threshold can be chosen"
            )
        threshold = _best_threshold(scores[~test], labels[~test])
        rates.append(np.mean((scores[test] >= threshold) == labels[test]))
        thresholds.append(threshold)
    error = np.std(rates, ddof=1) / np.sqrt(len(names))
    return Accuracy(float(np.mean(rates)), float(error), len(names), np.array(thresholds))


def _best_threshold(scores: np.ndarray, same: np.ndarray) -> float:
    edges, rejected = tally(scores, same)
    right = rejected.impostor[0] - rejected.genuine[0]
    best = np.flatnonzero(right == right.max())
    return threshold_of(edges, int(best[len(best) // 2]))


def _stratified(same: np.ndarray, seed: int) -> np.ndarray:
    """(P,) folds: each kind dealt out in turn, in a random order.

    Raises:
        TooFewPairs: a kind has one pair only, which cannot be in two folds.
    """
    count = min(10, int(same.sum()), int((~same).sum()))
    if count < 2:
        raise TooFewPairs("a cross-validation takes two pairs of each kind at least")
    rng = np.random.default_rng(seed)
    folds = np.empty(len(same), np.int64)
    for kind in (same, ~same):
        folds[rng.permutation(np.flatnonzero(kind))] = np.arange(kind.sum()) % count
    return folds

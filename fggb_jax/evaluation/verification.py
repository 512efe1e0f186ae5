"""Everything that is measured of a model on labelled pairs, in one report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fggb_jax.errors import OptionError
from fggb_jax.evaluation.accuracy import TooFewPairs, ten_fold_accuracy
from fggb_jax.evaluation.rates import (
    FARS,
    TarAtFar,
    at_far,
    auc,
    calibrate,
    checked,
    eer,
    errors_at,
    percent,
    tally,
)
from fggb_jax.evaluation.resampling import RESAMPLES, Interval, Intervals, bootstrap


@dataclass(frozen=True)
class VerificationReport:
    """What a model's scores say; all rates are fractions of 1.

    Attributes:
        pairs: all pairs that were read.
        dropped: those without a score; pairs − dropped = genuine + impostor.
        genuine: scored pairs of the same person.
        impostor: scored pairs of two persons.
        eer: the equal error rate by the midpoint rule.
        auc: the area under the ROC.
        accuracy: by cross-validation; None where the pairs are too few for it.
        accuracy_standard_error: of that mean over the folds.
        folds: their number.
        threshold: the cosine from which a pair is accepted.
        threshold_source: the sentence that says where it comes from.
        fmr: share of impostors accepted at the threshold.
        fnmr: share of genuine pairs rejected at it.
        tar_at_far: one for each FAR, measured or not.
        intervals: 95 % intervals of EER, AUC and TAR.
        notes: what could not be measured, and why.
    """

    pairs: int
    dropped: int
    genuine: int
    impostor: int
    eer: float
    auc: float
    accuracy: float | None
    accuracy_standard_error: float | None
    folds: int | None
    threshold: float
    threshold_source: str
    fmr: float
    fnmr: float
    tar_at_far: tuple[TarAtFar, ...]
    intervals: Intervals
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; FARs are keys such as "0.001", None is what is not measured."""
        names = ("pairs", "dropped", "genuine", "impostor", "eer", "auc", "accuracy")
        names += ("accuracy_standard_error", "folds", "threshold", "threshold_source")
        names += ("fmr", "fnmr")
        bounds = self.intervals.tar_at_far
        return {name: getattr(self, name) for name in names} | {
            "tar_at_far": {f"{found.far:g}": found.tar for found in self.tar_at_far},
            "tar_at_far_thresholds": {f"{t.far:g}": t.threshold for t in self.tar_at_far},
            "intervals": {
                "level": 0.95,
                "eer": list(self.intervals.eer),
                "auc": list(self.intervals.auc),
                "tar_at_far": {f"{far:g}": b and list(b) for far, b in bounds.items()},
                "method": self.intervals.method,
            },
            "notes": list(self.notes),
        }

    def table(self) -> str:
        """Plain text: one row for each measure with its interval, then the threshold and notes."""
        rows = [
            ("", "", "95 % interval"),
            ("EER", percent(self.eer), _percents(self.intervals.eer)),
            ("AUC", f"{self.auc:.5f}", "{:.5f} – {:.5f}".format(*self.intervals.auc)),
        ]
        if self.accuracy is not None and self.accuracy_standard_error is not None:
            error = f"± {100 * self.accuracy_standard_error:.2f} % standard error"
            rows.append((f"accuracy, {self.folds} folds", percent(self.accuracy), error))
        for found in self.tar_at_far:
            bounds = self.intervals.tar_at_far.get(found.far)
            if found.tar is not None and bounds is not None:
                value, interval = percent(found.tar), _percents(bounds)
            else:
                value, interval = "–", "not measured"
            rows.append((f"TAR at FAR {found.far:g}", value, interval))
        first, second = (max(len(row[i]) for row in rows) for i in (0, 1))
        lines = [f"{a:<{first}}  {b:>{second}}  {c}".rstrip() for a, b, c in rows]
        lost = f", {self.dropped:,} dropped" if self.dropped else ""
        return "\n".join(
            [
                f"{self.pairs:,} pairs{lost}: {self.genuine:,} genuine, {self.impostor:,} impostor",
                *lines,
                f"threshold {self.threshold:.4f}: {self.threshold_source}",
                f"  there FMR {percent(self.fmr)}, FNMR {percent(self.fnmr)}",
                f"intervals: {self.intervals.method}",
                *(f"note: {note}" for note in self.notes),
            ]
        )


def verify(
    scores: Any,
    same: Any,
    *,
    dropped: int = 0,
    folds: Any = None,
    clusters: Any = None,
    rule: str = "eer",
    data: str = "",
    fars: tuple[float, ...] = FARS,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> VerificationReport:
    """Measure verification.

    Args:
        scores: (P,) finite cosines of the pairs that could be scored.
        same: (P,) bool, or 0 and 1.
        dropped: how many further pairs could not be scored.
        folds: (P,) of these pairs, for the accuracy; by default ten random stratified ones.
        clusters: (P, 2) integers, for intervals over images or persons: see `bootstrap`.
        rule: of the threshold: see `calibrate`.
        data: what the pairs are, for the threshold's source.
        fars: the FARs to measure TAR at.
        resamples: of the intervals.
        seed: of the folds and of the resamples.

    Raises:
        OptionError: scores or labels that allow no measurement (see `rates.checked`), an unknown
            rule, a FAR outside of (0, 1].
    """
    scores, labels = checked(scores, same)
    if dropped < 0:
        raise OptionError(f"{dropped} dropped pairs make no sense")
    edges, rejected = tally(scores, labels)
    tars = tuple(at_far(edges, rejected, far) for far in fars)
    notes = [found.reason for found in tars if found.reason]
    try:
        accuracy = ten_fold_accuracy(scores, labels, folds, seed)
    except TooFewPairs as error:
        accuracy = None
        notes.append(f"no accuracy: {error}")
    threshold, source = calibrate(scores, labels, rule, data)
    fmr, fnmr = errors_at(scores, labels, threshold)
    return VerificationReport(
        pairs=len(scores) + dropped,
        dropped=dropped,
        genuine=int(labels.sum()),
        impostor=int(np.sum(~labels)),
        eer=eer(scores, labels).eer,
        auc=auc(scores, labels),
        accuracy=accuracy and accuracy.mean,
        accuracy_standard_error=accuracy and accuracy.standard_error,
        folds=accuracy and accuracy.folds,
        threshold=threshold,
        threshold_source=source,
        fmr=fmr,
        fnmr=fnmr,
        tar_at_far=tars,
        intervals=bootstrap(
            scores, labels, fars=fars, clusters=clusters, resamples=resamples, seed=seed
        ),
        notes=tuple(notes),
    )


def _percents(bounds: Interval) -> str:
    return " – ".join(percent(bound) for bound in bounds)

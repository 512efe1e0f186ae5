"""How well a model verifies faces, and how that is drawn.

The figure is in `fggb_jax.evaluation.roc_figure`, so that matplotlib is loaded only for it.
"""

from fggb_jax.evaluation.accuracy import Accuracy, ten_fold_accuracy
from fggb_jax.evaluation.rates import (
    FARS,
    Eer,
    Roc,
    TarAtFar,
    auc,
    calibrate,
    eer,
    errors_at,
    roc,
    tar_at_far,
)
from fggb_jax.evaluation.resampling import Intervals, bootstrap
from fggb_jax.evaluation.verification import VerificationReport, verify

__all__ = [
    "FARS",
    "Accuracy",
    "Eer",
    "Intervals",
    "Roc",
    "TarAtFar",
    "VerificationReport",
    "auc",
    "bootstrap",
    "calibrate",
    "eer",
    "errors_at",
    "roc",
    "tar_at_far",
    "ten_fold_accuracy",
    "verify",
]

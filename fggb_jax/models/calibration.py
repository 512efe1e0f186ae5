"""Thresholds measured here: one small file for each file of weights, kept with the user's cards."""

from __future__ import annotations

import dataclasses
import datetime
import tomllib
from dataclasses import dataclass
from pathlib import Path

from fggb_jax.errors import ModelError
from fggb_jax.models import disk
from fggb_jax.models.card import Card
from fggb_jax.models.user_cards import cards_folder, write_toml


@dataclass(frozen=True)
class Calibration:
    """A threshold that `fggb verify PAIRS --calibrate` measured.

    Attributes:
        model: the name of the card that the faces were prepared by.
        threshold: the cosine from which a pair is accepted.
        threshold_source: the sentence that says where it comes from.
        detector: what found the faces of the pairs.
        date: of the measurement, such as "2026-07-26".

    Raises:
        ModelError: an entry is no text, or the threshold no cosine.
    """

    model: str
    threshold: float
    threshold_source: str
    detector: str
    date: str

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if name != "threshold" and not isinstance(value, str):
                raise ModelError(f"{name} is {value!r}; it must be a text")
        number = isinstance(self.threshold, int | float) and not isinstance(self.threshold, bool)
        if not number or not -1 <= self.threshold <= 1:
            raise ModelError(
                f"threshold {self.threshold!r} is no cosine in [-1, 1]: calibrate on other pairs"
            )


def file_of(sha256: str) -> Path:
    """Where the threshold of a file of weights is stored; deleting that file forgets it."""
    return cards_folder() / "thresholds" / f"{sha256}.toml"


def store(sha256: str, threshold: float, source: str, *, model: str, detector: str) -> Path:
    """Keep a threshold: `load_model` gives it to the model with these weights from then on.

    Args:
        sha256: of the file of weights, as `FaceModel.sha256`.
        threshold: the cosine from which a pair is accepted.
        source: what it was measured on, as `evaluation.calibrate` says it.
        model: the name of the model's card.
        detector: what found the faces, for the threshold's source: "faces by YuNet", say.

    Returns:
        The path of the file; an earlier one is replaced.

    Raises:
        ModelError: the threshold is no cosine, or the file cannot be written.

    Example:
        >>> store(model.sha256, *calibrate(scores, same), model="mine", detector="aligned faces")
        ...                                                    # doctest: +SKIP
    """
    date = datetime.date.today().isoformat()
    sentence = f"{source}; {detector}; calibrated by `fggb verify` on {date}"
    found = Calibration(model, float(threshold), sentence, detector, date)
    path = file_of(sha256)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_toml(path, dataclasses.asdict(found))
    except OSError as error:
        reason = disk.problem(error, path.parent, "FGGB_CARDS")
        raise ModelError(f"the threshold of {model!r} is not stored: {reason}") from None
    return path


def stored(sha256: str | None) -> Calibration | None:
    """What `store` kept for a file of weights; None where that is nothing.

    Raises:
        ModelError: the file is damaged.
    """
    if sha256 is None:
        return None
    path = file_of(sha256)
    try:
        return Calibration(**tomllib.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, TypeError, ModelError) as error:
        raise ModelError(
            f"{path} is no stored threshold ({error}): delete it, and calibrate again where you "
            "want one (`fggb verify PAIRS --calibrate`)"
        ) from None


def calibrated(card: Card, sha256: str | None) -> Card:
    """A card with the threshold that is stored for its weights; the card itself without one.

    Args:
        card: of the model.
        sha256: of its weights, which need not be the card's: that may say None, for any file.

    Raises:
        ModelError: as of `stored`.
    """
    if (found := stored(sha256)) is None:
        return card
    return dataclasses.replace(
        card, threshold=found.threshold, threshold_source=found.threshold_source
    )

"""What was measured here: small files, one for each file of weights, kept with the user's cards."""

from __future__ import annotations

import dataclasses
import datetime
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fggb_jax.errors import ModelError
from fggb_jax.models import disk
from fggb_jax.models.card import Card, check_norms
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
        _check_texts(self, "threshold")
        number = isinstance(self.threshold, int | float) and not isinstance(self.threshold, bool)
        if not number or not -1 <= self.threshold <= 1:
            raise ModelError(
                f"threshold {self.threshold!r} is no cosine in [-1, 1]: calibrate on other pairs"
            )


@dataclass(frozen=True)
class NormsCalibration:
    """The channels' norms that `fggb models norms` measured.

    Attributes:
        model: the name of the card that the faces were prepared by.
        norms: N positive numbers.
        norms_source: the sentence that says where they come from.
        date: of the measurement.

    Raises:
        ModelError: an entry is no text, or the norms are none.
    """

    model: str
    norms: tuple[float, ...]
    norms_source: str
    date: str

    def __post_init__(self) -> None:
        _check_texts(self, "norms")
        check_norms(self.norms, None)


def _check_texts(measured: Any, number: str) -> None:
    for name, value in dataclasses.asdict(measured).items():
        if name != number and not isinstance(value, str):
            raise ModelError(f"{name} is {value!r}; it must be a text")


def file_of(sha256: str) -> Path:
    """Where the threshold of a file of weights is stored; deleting that file forgets it."""
    return cards_folder() / "thresholds" / f"{sha256}.toml"


def norms_file_of(sha256: str) -> Path:
    """Where the norms of a file of weights are stored; deleting that file forgets them."""
    return cards_folder() / "norms" / f"{sha256}.toml"


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
    return _write(file_of(sha256), found, f"the threshold of {model!r} is not stored")


def store_norms(sha256: str, norms: Sequence[float], source: str, *, model: str) -> Path:
    """Keep the channels' norms: `load_model` gives them to the model with these weights.

    Args:
        sha256: of the file of weights, as `FaceModel.sha256`.
        norms: of the model's N channels, as `fx.calibrate_norms` finds them.
        source: what they were measured on.
        model: the name of the model's card.

    Returns:
        The path of the file; an earlier one is replaced.

    Raises:
        ModelError: the norms are not positive numbers, or the file cannot be written.

    Example:
        >>> store_norms(model.sha256, model.card.norms, "mean over my faces", model="mine")
        ...                                                    # doctest: +SKIP
    """
    date = datetime.date.today().isoformat()
    sentence = f"{source}; measured by `fggb models norms` on {date}"
    found = NormsCalibration(model, tuple(map(float, norms)), sentence, date)
    return _write(norms_file_of(sha256), found, f"the norms of {model!r} are not stored")


def _write(path: Path, found: Any, failure: str) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_toml(path, dataclasses.asdict(found))
    except OSError as error:
        reason = disk.problem(error, path.parent, "FGGB_CARDS")
        raise ModelError(f"{failure}: {reason}") from None
    return path


def stored(sha256: str | None) -> Calibration | None:
    """What `store` kept for a file of weights; None where that is nothing.

    Raises:
        ModelError: the file is damaged.
    """
    again = "calibrate again where you want one (`fggb verify PAIRS --calibrate`)"
    return _read(file_of(sha256), Calibration, "threshold", again) if sha256 else None


def stored_norms(sha256: str | None) -> NormsCalibration | None:
    """What `store_norms` kept for a file of weights; None where that is nothing.

    Raises:
        ModelError: the file is damaged.
    """
    again = "measure them again where you want them (`fggb models norms MODEL IMAGES`)"
    return _read(norms_file_of(sha256), NormsCalibration, "norms", again) if sha256 else None


_Stored = TypeVar("_Stored", Calibration, NormsCalibration)


def _read(path: Path, kind: type[_Stored], what: str, again: str) -> _Stored | None:
    try:
        read = tomllib.loads(path.read_text("utf-8"))
        entries: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in read.items()
        }
        return kind(**entries)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, TypeError, ModelError) as error:
        raise ModelError(f"{path} is no stored {what} ({error}): delete it, and {again}") from None


def calibrated(card: Card, sha256: str | None) -> Card:
    """A card with what is stored for its weights; the card itself where that is nothing.

    Args:
        card: of the model.
        sha256: of its weights, which need not be the card's: that may say None, for any file.

    Raises:
        ModelError: as of `stored` and `stored_norms`.
    """
    if (found := stored(sha256)) is not None:
        card = dataclasses.replace(
            card, threshold=found.threshold, threshold_source=found.threshold_source
        )
    if (measured := stored_norms(sha256)) is not None:
        card = dataclasses.replace(card, norms=measured.norms, norms_source=measured.norms_source)
    return card

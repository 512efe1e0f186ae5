"""From a photograph to the aligned face of a card: detect, choose, align."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fggb_jax.errors import ImageError, ModelError, OptionError
from fggb_jax.faces import landmarks as schemes
from fggb_jax.faces.align import Aligned, align
from fggb_jax.faces.detection import Detection, Detector
from fggb_jax.faces.detector_card import detector_cards
from fggb_jax.models import zoo
from fggb_jax.models.card import Card
from onnx2jax import OnnxError
from onnx2jax.reader import read_proto

_MOST_OF_SCRFD = 9  # outputs; YuNet has more


@dataclass(frozen=True, eq=False)
class FoundFace:
    """One face of a photograph.

    Attributes:
        aligned: the chip, and the transform from the photograph to it.
        photo: (H, W, 3) uint8 RGB, where it was found.
        detection: box, score, landmarks; None where landmarks were given.
        detector: which detector found it, for the provenance.
        notes: what the user should know, in lines: several faces, say.
    """

    aligned: Aligned
    photo: np.ndarray
    detection: Detection | None
    detector: str
    notes: list[str] = field(default_factory=list)


def find_face(
    photo: np.ndarray,
    card: Card,
    detector: Detector,
    *,
    which: str | int = "largest",
    name: str = "the photograph",
) -> FoundFace:
    """Find a face in a photograph and align it for a model.

    Args:
        photo: (H, W, 3) uint8 RGB, upright.
        card: of the model; its template and size say how the face is aligned.
        detector: must supply landmarks that lead to the card's scheme: `detector_for` chooses one.
        which: of several faces: "largest", "center" (nearest to the photograph's centre), or an
            index, from 0 at the left.
        name: of the photograph, for messages.

    Raises:
        ImageError: no face, or no such face.
        ModelError: the card does not say how faces are aligned.
        OptionError: `which` makes no sense.
    """
    found = detector.detect(photo)
    if not found:
        raise ImageError(
            f"no face found in {name} ({photo.shape[1]}×{photo.shape[0]}) by {detector.name}, not "
            "at a higher resolution either; crop it nearer, give landmarks, or try another "
            "detector"
        )
    detection, notes = choose(found, which, photo.shape[:2], name)
    aligned = align(photo, detection.landmarks, card.template, card.size, card.landmarks)
    return FoundFace(aligned, photo, detection, detector.name, notes)


def given_face(photo: np.ndarray, card: Card, landmarks: Mapping[str, np.ndarray]) -> FoundFace:
    """Align a face whose landmarks are known: scheme → (P, 2) in pixels of the photograph."""
    aligned = align(photo, landmarks, card.template, card.size, card.landmarks)
    return FoundFace(aligned, photo, None, "landmarks as given")


def choose(
    faces: list[Detection], which: str | int, size: tuple[int, ...], name: str
) -> tuple[Detection, list[str]]:
    """The face that is meant, and a note where there was a choice."""
    from_left = sorted(faces, key=lambda face: face.box[0])
    if which == "largest":
        chosen = max(faces, key=_area)
    elif which == "center":
        middle = np.array(size[::-1]) / 2
        chosen = min(faces, key=lambda face: np.linalg.norm(_centre(face) - middle))
    else:
        index = _index(which)
        if index >= len(faces):
            raise ImageError(f"{name} has {len(faces)} faces; there is no face {index}")
        chosen = from_left[index]
    if len(faces) == 1:
        return chosen, []
    position = next(i for i, face in enumerate(from_left) if face is chosen)
    note = (
        f"{name} has {len(faces)} faces; taken: number {position} from the left ({which}); "
        "choose with --face largest|center|INDEX"
    )
    return chosen, [note]


def _index(which: str | int) -> int:
    try:
        index = int(which)
    except ValueError:
        index = -1
    if index < 0:
        raise OptionError(f"face is {which!r}; give largest, center, or an index from 0")
    return index


def _area(face: Detection) -> float:
    left, top, right, bottom = face.box
    return (right - left) * (bottom - top)


def _centre(face: Detection) -> np.ndarray:
    left, top, right, bottom = face.box
    return np.array([left + right, top + bottom]) / 2


def detector_for(
    card: Card, source: str | Path = "auto", *, beside: Path | None = None
) -> Detector:
    """A detector whose landmarks suit a card.

    Args:
        card: of the model.
        source: the name of a detector's card (`detector_cards()`), whose weights are fetched where
            they are not here yet; "dlib", whose files come with the extra `demo`; or the path of a
            YuNet or SCRFD .onnx file. "auto" takes dlib's for models that are aligned by dlib's
            points. For others it takes YuNet where its weights are here, since its five points
            are those that these models were trained on, else five derived from dlib's 68.
        beside: a folder in which "auto" looks for YuNet too: that of the model's file.

    Raises:
        ModelError: the card names no alignment, or the detector cannot be had, or cannot supply
            the card's landmarks.
    """
    if card.landmarks is None or card.template is None:
        raise ModelError(
            f"the card of {card.name!r} does not say how faces are aligned (landmarks, template): "
            "give aligned faces"
        )
    schemes.check_scheme(card.landmarks)
    if source == "auto":
        source = _best_here(card.landmarks, beside)
    if source == "dlib":
        from fggb_jax.faces.dlib_detector import DlibDetector

        return DlibDetector("dlib-5" if card.landmarks == "dlib-5" else "dlib-68")
    known = detector_cards().get(str(source))
    detector = _from_file(Path(source) if known is None else zoo.fetch(known))
    # Whether the points lead to the card's is asked of points that are there.
    example = {s: np.zeros((schemes.SCHEMES[s].count, 2)) for s in detector.schemes}
    if schemes.find(example, card.landmarks) is None:
        raise ModelError(
            f"{detector.name} finds {', '.join(detector.schemes) or 'no landmarks'}; "
            f"{card.name!r} is aligned by {card.landmarks}: use the default detector"
        )
    return detector


def _best_here(scheme: str, beside: Path | None) -> str | Path:
    if scheme == "dlib-5":
        return "dlib"
    return zoo.find(detector_cards()["yunet"], beside) or "dlib"


def _from_file(path: Path) -> Detector:
    """YuNet or SCRFD: the number of the file's outputs tells which."""
    from fggb_jax.faces.scrfd import ScrfdDetector
    from fggb_jax.faces.yunet import YunetDetector

    if not path.is_file():
        raise ModelError(
            f"no detector {str(path)!r}: give auto, dlib, {', '.join(detector_cards())}, or the "
            "path of a YuNet or SCRFD .onnx file"
        )
    try:
        proto = read_proto(path)
    except OnnxError as error:
        raise ModelError(f"the detector {path} cannot be read: {error}") from None
    many = len(proto.graph.output) > _MOST_OF_SCRFD
    return YunetDetector(path) if many else ScrfdDetector(path)

"""Photographs and the faces in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fggb_jax.cli.console import note
from fggb_jax.errors import ImageError

if TYPE_CHECKING:
    from fggb_jax.explanation import Explanation
    from fggb_jax.faces.detection import Detector
    from fggb_jax.faces.finder import FoundFace
    from fggb_jax.models.face_model import FaceModel


class Face(NamedTuple):
    """An aligned face, and where it was found."""

    chip: Any
    found: FoundFace | None = None


def read(path: Path) -> Any:
    from fggb_jax.data.images import read_image

    return read_image(path, note=note)


def fit(face: Any, path: Path, model: FaceModel) -> Any:
    from fggb_jax.data.images import resize_aligned

    height, width = model.card.size
    fitted = resize_aligned(face, model.card.size, str(path))
    if fitted is not face:
        note(f"{path}: resized from {face.shape[1]}×{face.shape[0]} to {width}×{height}")
    return fitted


def detector_of(model: FaceModel, source: str, beside: Path | None) -> Detector:
    """The detector asked for; a note where a better one could be had."""
    from fggb_jax.faces.finder import detector_for

    chosen = detector_for(model.card, source, beside=beside)
    if source == "auto" and chosen.schemes == ("dlib-68",):
        note(
            "five landmarks are derived from dlib's 68, whose training data exclude commercial "
            "use; YuNet's are better and free: fggb models get yunet"
        )
    return chosen


def finder(
    model: FaceModel, detector: str, landmarks: Path | None, which: str, beside: Path | None
) -> Callable[[Any, Path], Face]:
    """What turns a photograph into an aligned face, with its notes printed."""
    from fggb_jax.faces.finder import find_face, given_face
    from fggb_jax.faces.landmark_files import read_landmarks

    if landmarks is not None:
        given = read_landmarks(landmarks)

        def find(photo: Any, path: Path) -> FoundFace:
            if (points := given.get(path.resolve())) is None:
                raise ImageError(f"{landmarks} has no landmarks of {path}; add a line for it")
            return given_face(photo, model.card, points)
    else:
        chosen = detector_of(model, detector, beside)

        def find(photo: Any, path: Path) -> FoundFace:
            return find_face(photo, model.card, chosen, which=which, name=str(path))

    def face(photo: Any, path: Path) -> Face:
        found = find(photo, path)
        for line in found.notes:
            note(line)
        return Face(found.aligned.chip, found)

    return face


def to_face_of(
    model: FaceModel, aligned: bool, detector: str, which: str, beside: Path | None
) -> tuple[Callable[[Any, str], Any], str]:
    """What `score` asks for, a photograph's aligned face, quietly; and who finds it, in words."""
    if aligned:
        from fggb_jax.data.images import resize_aligned

        return lambda photo, name: resize_aligned(photo, model.card.size, name), "aligned faces"
    from fggb_jax.faces.finder import find_face

    chosen = detector_of(model, detector, beside)

    def to_face(photo: Any, name: str) -> Any:
        return find_face(photo, model.card, chosen, which=which, name=name).aligned.chip

    return to_face, f"faces by {chosen.name}"


def placed(explanation: Explanation, faces: list[Face]) -> Explanation:
    """With the photographs, where faces were cut out of them."""
    from fggb_jax.explanation import Placement

    probe, gallery = (
        face.found and Placement(face.found.photo, face.found.aligned.matrix) for face in faces
    )
    detectors = [face.found.detector for face in faces if face.found]
    provenance = {**explanation.provenance, "detector": detectors[0] if detectors else "aligned"}
    return replace(
        explanation,
        probe_placement=probe,
        gallery_placement=gallery,
        provenance=provenance,
    )

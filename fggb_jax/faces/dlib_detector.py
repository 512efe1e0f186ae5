"""dlib's detector and landmark predictors as one `Detector`: what the extra `demo` brings."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image

import dlib2onnx
from fggb_jax.errors import ModelError
from fggb_jax.faces.detection import Detection, check_photograph
from fggb_jax.faces.landmarks import MIRROR_68
from fggb_jax.faces.mmod import MmodDetector
from fggb_jax.faces.shape_predictor import predict
from fggb_jax.models.load import dlib_weights

_FILES = {
    "dlib-5": "shape_predictor_5_face_landmarks.dat",
    "dlib-68": "shape_predictor_68_face_landmarks.dat",
}
# Where the 68 points are looked for from: a detection moved down and made wider, in its widths. The
# predictor was trained on such boxes, of another detector.
_DOWN, _WIDER = 0.07, (1.0, 1.13)
SIDE = 800  # of a photograph when faces are first looked for: those of 80 pixels and more are found


class DlibDetector:
    """Faces by dlib's CNN detector, landmarks by its regression trees.

    A large photograph is made smaller first, which is quick and keeps small faces in the background
    out; where no face is found, it is looked at again at twice the resolution, and so on.

    Args:
        scheme: "dlib-5", or "dlib-68" whose points ArcFace's five follow from. The latter's
            training data, iBUG 300-W, exclude commercial use.
        upsample: how often the resolution is doubled where nothing is found.

    Attributes:
        name: "dlib-mmod" and the predictor's scheme.
        schemes: (scheme,).

    Raises:
        ModelError: the package with dlib's files is not installed, or there is no such predictor.
    """

    def __init__(self, scheme: str = "dlib-5", *, upsample: int = 2) -> None:
        if scheme not in _FILES:
            raise ModelError(f"dlib predicts {', '.join(_FILES)}, not {scheme!r}")
        self.schemes = (scheme,)
        self.name = f"dlib-mmod, {scheme}"
        self.upsample = upsample
        self._detector = MmodDetector()

    @cached_property
    def _predictor(self) -> Any:
        return dlib2onnx.read_shape_predictor(dlib_weights().with_name(_FILES[self.schemes[0]]))

    def detect(self, image: np.ndarray) -> list[Detection]:
        """Find the faces of (H, W, 3) uint8 RGB, the best first.

        Raises:
            ImageError: the image is no photograph.
        """
        check_photograph(image)
        longest = max(image.shape[:2])
        scale = min(1.0, SIDE / longest)
        for doubling in range(self.upsample + 1):
            # Beyond the photograph's own resolution the detector doubles the pixels itself.
            wanted = scale * 2**doubling
            shrunk = _shrunk(image, min(wanted, 1.0))
            extra = round(np.log2(wanted)) if wanted > 1 else 0
            if faces := self._detector.detect(shrunk, upsample=extra):
                return self._with_landmarks(shrunk, faces, shrunk.shape[1] / image.shape[1])
        return []

    def _with_landmarks(self, image: np.ndarray, faces: Any, scale: float) -> list[Detection]:
        boxes = np.array([face.box for face in faces], np.float64)
        look = _steady_68 if self.schemes == ("dlib-68",) else predict
        points = look(self._predictor, image, boxes)
        # Pixel centres lie at integers: x of the photograph is (x + ½) ÷ scale − ½.
        centre = lambda v: (np.asarray(v, np.float64) + 0.5) / scale - 0.5  # noqa: E731
        return [
            Detection(
                tuple(centre(box).tolist()),
                float(face.score),
                {self.schemes[0]: centre(p).astype(np.float32)},
            )
            for box, face, p in zip(boxes, faces, points, strict=True)
        ]


def _steady_68(predictor: Any, image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """The mean of four looks at each face: from two boxes, at the photograph and its mirror image.

    One look wanders with its box, and errors of verification fall with the mean. And a mirrored
    photograph has mirrored landmarks.
    """
    width = boxes[:, 2:3] - boxes[:, :1]
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2 + width * (0, _DOWN)
    grown = [np.hstack([middle - width * k / 2, middle + width * k / 2]) for k in _WIDER]
    around = np.concatenate(grown)
    last = image.shape[1] - 1
    flipped = around[:, [2, 1, 0, 3]] * (-1, 1, -1, 1) + (last, 0, last, 0)
    seen = predict(predictor, image, around)
    mirrored = predict(predictor, image[:, ::-1], flipped)
    mirrored = mirrored[:, MIRROR_68] * (-1, 1) + (last, 0)
    return ((seen + mirrored) / 2).reshape(len(_WIDER), len(boxes), -1, 2).mean(axis=0)


def _shrunk(image: np.ndarray, scale: float) -> np.ndarray:
    if scale == 1:
        return image
    height, width = (max(1, round(n * scale)) for n in image.shape[:2])
    resampled = Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(resampled)

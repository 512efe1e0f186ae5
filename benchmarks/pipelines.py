"""Ways from image files to embeddings: ours, dlib's and OpenCV's. `throughput.py` times them.

In C++ each way is a chain of stages, each applied to the result of the one before. Faces are looked
for as ours are, so that as much is found: a large photograph is made smaller first, one without a
face is looked at again at twice the size, and of several faces the one nearest to the centre
counts. The rest of the work is done on the photograph that was made smaller.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from common import dlib_file, model_file, shared_data

from fggb_jax.errors import FggbError, ImageError

DLIB, SFACE = "dlib-resnet-v1", "sface"
OURS = {  # name → the recognizer and the detector
    "ours": (DLIB, "dlib"),
    "ours, YuNet": (SFACE, "yunet"),
    "ours, dlib CNN": (SFACE, "dlib"),
}
SIDE = {DLIB: 800, SFACE: 640}  # of a photograph when faces are first looked for, as in ours
UPSAMPLINGS = (0, 1, 2)  # how often it is doubled where none is found
BATCH = 32  # faces that ours embeds at once
STAGES = ("read", "detect", "landmarks", "align", "embed")
Stages = dict[str, Callable[[Any], Any]]


def embed_files(name: str, threads: int, paths: Sequence[Path]) -> np.ndarray:
    """The embeddings of the faces in files, one way: (K, N) float32, NaN where none is found.

    What the way needs is loaded and compiled when it is first used.

    Args:
        name: of the way: one of `OURS` or of `CPP`.
        threads: OpenCV's; dlib always has one, and ours as many as there are cores.
        paths: the files.
    """
    if name in OURS:
        return _score(name, paths)
    import cv2

    cv2.setNumThreads(threads)
    found = [_or_none(partial(run, cpp_stages(name)), path) for path in paths]
    width = next((len(z) for z in found if z is not None), 1)
    return np.stack([np.full(width, np.nan, np.float32) if z is None else z for z in found])


def run(stages: Stages, value: Any) -> Any:
    """Apply the stages one after the other."""
    for stage in stages.values():
        value = stage(value)
    return value


def _or_none(work: Callable[[Any], Any], value: Any) -> Any:
    try:
        return work(value)
    except FggbError:
        return None


# Ours


@cache
def _tools(name: str) -> tuple[Any, Any]:
    """The recognizer and the detector."""
    import fggb_jax as fx
    from fggb_jax.faces.finder import detector_for

    recognizer, source = OURS[name]
    model = fx.load_model(model_file(recognizer))
    return model, detector_for(model.card, _yunet_file() if source == "yunet" else source)


def _score(name: str, paths: Sequence[Path]) -> np.ndarray:
    """What `fggb verify` does, without any pairs."""
    from fggb_jax.data.pair_list import ImageFile, PairList
    from fggb_jax.evaluation.scoring import score
    from fggb_jax.faces.finder import find_face

    model, detector = _tools(name)

    def to_face(photo: np.ndarray, file: str) -> np.ndarray:
        return find_face(photo, model.card, detector, which="center", name=file).aligned.chip

    images = [ImageFile(str(path), path) for path in paths]
    return score(model, PairList(images, np.zeros((0, 2), np.int64)), to_face).embeddings


def our_stages(name: str) -> Stages:
    """The same as a chain, up to the aligned face; landmarks are part of "detect"."""
    from fggb_jax.data.images import read_image
    from fggb_jax.faces.align import align
    from fggb_jax.faces.finder import choose

    model, detector = _tools(name)
    card = model.card

    def detect(photo: np.ndarray) -> tuple[np.ndarray, Any]:
        if not (faces := detector.detect(photo)):
            raise ImageError("no face found")
        return photo, choose(faces, "center", photo.shape[:2], "")[0]

    def cut(face: tuple[np.ndarray, Any]) -> np.ndarray:
        return align(face[0], face[1].landmarks, card.template, card.size, card.landmarks).chip

    return {"read": read_image, "detect": detect, "align": cut}


# In C++


@cache
def cpp_stages(name: str) -> Stages:
    """The chain of one of `CPP`."""
    return CPP[name]()


def _read(side: int) -> Callable[[Path], np.ndarray]:
    """Read a file as BGR, its longer side at most `side` pixels."""
    import cv2

    def read(path: Path) -> np.ndarray:
        image = cv2.imread(str(path))
        if image is None:
            raise ImageError(f"{path} cannot be decoded")
        scale = side / max(image.shape[:2])
        if scale >= 1:
            return image
        return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)

    return read


def _nearest(boxes: Any, image: np.ndarray) -> int:
    """The box (left, top, width, height) whose middle is nearest to the image's."""
    boxes = np.asarray(boxes, np.float64)
    offset = boxes[:, :2] + boxes[:, 2:4] / 2 - np.array(image.shape[1::-1]) / 2
    return int(np.argmin(np.sum(offset**2, axis=1)))


def _dlib(find: Callable[[np.ndarray, int], list[Any]]) -> Stages:
    """The stages about one of dlib's detectors: (image, upsampling) → rectangles."""
    import cv2
    import dlib

    predictor = dlib.shape_predictor(str(dlib_file("shape_predictor_5_face_landmarks.dat")))
    recognizer = dlib.face_recognition_model_v1(str(model_file(DLIB)))
    load = _read(SIDE[DLIB])

    def detect(image: np.ndarray) -> tuple[np.ndarray, Any]:
        for upsampling in UPSAMPLINGS:
            if boxes := find(image, upsampling):
                corners = [(r.left(), r.top(), r.width(), r.height()) for r in boxes]
                return image, boxes[_nearest(corners, image)]
        raise ImageError("no face found")

    return {
        "read": lambda path: cv2.cvtColor(load(path), cv2.COLOR_BGR2RGB),
        "detect": detect,
        "landmarks": lambda face: (face[0], predictor(*face)),
        "align": lambda face: dlib.get_face_chip(*face, size=150, padding=0.25),
        "embed": lambda chip: np.array(recognizer.compute_face_descriptor(chip), np.float32),
    }


def _dlib_cnn() -> Stages:
    import dlib

    detector = dlib.cnn_face_detection_model_v1(str(dlib_file("mmod_human_face_detector.dat")))
    return _dlib(lambda image, upsampling: [found.rect for found in detector(image, upsampling)])


def _dlib_hog() -> Stages:
    import dlib

    detector = dlib.get_frontal_face_detector()
    return _dlib(lambda image, upsampling: list(detector(image, upsampling)))


def _opencv() -> Stages:
    """OpenCV's stages; its detector finds the landmarks at once."""
    import cv2

    detector = cv2.FaceDetectorYN.create(str(_yunet_file()), "", (320, 320), score_threshold=0.6)
    recognizer = cv2.FaceRecognizerSF.create(str(model_file(SFACE)), "")

    def detect(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        for upsampling in UPSAMPLINGS:
            scale = 2**upsampling
            larger = cv2.resize(image, None, fx=scale, fy=scale) if upsampling else image
            detector.setInputSize(larger.shape[1::-1])
            if (faces := detector.detect(larger)[1]) is not None:
                return larger, faces[_nearest(faces, larger)]
        raise ImageError("no face found")

    return {
        "read": _read(SIDE[SFACE]),
        "detect": detect,
        "align": lambda face: recognizer.alignCrop(*face),
        "embed": lambda chip: recognizer.feature(chip)[0].copy(),
    }


def _yunet_file() -> Path:
    return shared_data() / "models" / "face_detection_yunet_2023mar.onnx"


CPP = {"dlib, CNN": _dlib_cnn, "dlib, HOG": _dlib_hog, "OpenCV": _opencv}


# Where the time goes


def stage_seconds(name: str, paths: Sequence[Path]) -> dict[str, float]:
    """CPU seconds an image of each stage; images without a face are left out."""
    import cv2

    cv2.setNumThreads(1)
    stages = our_stages(name) if name in OURS else cpp_stages(name)
    # For ours a photograph of another size is another program, to be compiled beforehand.
    for path in paths if name in OURS else paths[:1]:
        _or_none(partial(run, stages), path)
    watches, results = [], []
    for path in paths:
        watch = Stopwatch()
        watched = {stage: watch.around(stage, work) for stage, work in stages.items()}
        with watch.inside_ours():
            if (result := _or_none(partial(run, watched), path)) is not None:
                watches.append(watch.seconds)
                results.append(result)
    mean = {s: sum(w[s] for w in watches) / len(watches) for s in STAGES if s in watches[0]}
    if name in OURS:
        mean["detect"] -= mean["landmarks"]
        mean["embed"] = _embedding_seconds(name, np.stack(results))
    return mean


def _embedding_seconds(name: str, chips: np.ndarray) -> float:
    """CPU seconds that ours takes for one embedding, as one of a batch."""
    model, _ = _tools(name)
    batch = np.resize(chips, (BATCH, *chips.shape[1:]))
    np.asarray(model.embed(batch))  # compiled now
    watch = Stopwatch()
    watch.around("embed", lambda: np.asarray(model.embed(batch)))()
    return watch.seconds["embed"] / BATCH


class Stopwatch:
    """Adds up the CPU time that functions take.

    Attributes:
        seconds: by the name that was given to the function.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, watched."""

        def watched(*args: Any, **kwargs: Any) -> Any:
            start = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                taken = time.process_time() - start
                self.seconds[name] = self.seconds.get(name, 0) + taken

        return watched

    @contextmanager
    def inside_ours(self) -> Iterator[None]:
        """Watch what our detectors spend on landmarks."""
        from fggb_jax.faces import dlib_detector
        from fggb_jax.faces.yunet import YunetDetector

        with (
            patch.object(dlib_detector, "predict", self.around("landmarks", dlib_detector.predict)),
            patch.object(
                YunetDetector, "_refined", self.around("landmarks", YunetDetector._refined)
            ),
        ):
            yield

"""Aligned chips of LFW View 1 (1,549 photographs, 1,000 pairs), for dlib's and ArcFace's templates.

    python benchmarks/lfw.py            # about 2 minutes; cached for the other scripts

The labelled person is the large face at the middle of the photograph. dlib chips: HOG detector
(once more on the photograph at twice the size where it finds nothing), five landmarks,
`get_face_chip` at 150 pixels. ArcFace chips: YuNet's five landmarks, the median over five scales, a
similarity transform to the 112-pixel template, antialiased: as for the sample portraits.
"""

import argparse
import csv
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import cv2
import dlib
import numpy as np
from common import dlib_file, shared_data
from make_portraits import arcface_chip
from PIL import Image

TEMPLATES = ("dlib-150", "arcface-112")
DEFAULT_CACHE = Path(tempfile.gettempdir()) / "fggb-lfw"
# LFW's faces are about 93 pixels wide, and YuNet's landmarks are better on larger ones: at scale 1
# alone MobileFaceNet has an EER of 1.8 %, with the median over these scales 1.0 %.
SCALES = (1, 1.25, 1.5, 1.75, 2)
DETECTORS = {
    "dlib-150": "dlib HOG, 5 landmarks",
    "arcface-112": "YuNet 2023mar, 5 landmarks, median over 5 scales",
}


class Lfw(NamedTuple):
    """LFW View 1 for one template.

    Attributes:
        chips: (K, H, W, 3) uint8 RGB, zeros where no face was found.
        found: (K,) whether a face was found.
        names: K paths relative to the data set's folder.
        pairs: (P, 2) indices into chips.
        same: (P,) whether a pair is genuine.
    """

    chips: np.ndarray
    found: np.ndarray
    names: list[str]
    pairs: np.ndarray
    same: np.ndarray

    @property
    def usable(self) -> np.ndarray:
        """(P,) whether both faces of a pair were found."""
        return self.found[self.pairs].all(1)


def load(template: str, cache_folder: str | Path = DEFAULT_CACHE, workers: int = 2) -> Lfw:
    """Chips and pairs, from the cache or by detecting and aligning all photographs.

    Raises:
        SystemExit: the data set is not here.
    """
    folder = shared_data() / "lfw"
    if not (folder / "pairs.csv").is_file():
        raise SystemExit(f"LFW View 1 is not at {folder}; set FGGB_SHARED to its parent folder")
    names, pairs, same = read_pairs(folder / "pairs.csv")
    path = (cache_folder := Path(cache_folder)) / f"{template}.npz"
    if not path.is_file():
        cache_folder.mkdir(parents=True, exist_ok=True)
        chips = _all_chips(template, [folder / name for name in names], workers)
        size = int(template.rpartition("-")[2])
        empty = np.zeros((size, size, 3), np.uint8)
        found = np.array([chip is not None for chip in chips])
        stack = np.stack([empty if chip is None else chip for chip in chips])
        np.savez_compressed(path, chips=stack, found=found, names=np.array(names))
    with np.load(path) as file:
        if file["names"].tolist() != names:
            raise SystemExit(f"{path} belongs to another list of photographs; remove it")
        return Lfw(file["chips"], file["found"], names, pairs, same)


def read_pairs(path: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The photographs, each once, and the pairs as indices into them."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = sorted({row[side] for row in rows for side in ("probe", "gallery")})
    index = {name: i for i, name in enumerate(names)}
    pairs = [[index[row["probe"]], index[row["gallery"]]] for row in rows]
    return names, np.array(pairs), np.array([row["same"] == "1" for row in rows])


def _all_chips(template: str, paths: list[Path], workers: int) -> list[np.ndarray | None]:
    chip = partial(make_chip, template)
    with ProcessPoolExecutor(workers) as pool:
        return list(pool.map(chip, paths, chunksize=32))


def make_chip(template: str, path: Path) -> np.ndarray | None:
    """The aligned face of one photograph; None where none is found."""
    cv2.setNumThreads(1)  # the processes are the parallelism
    with Image.open(path) as file:
        image = np.asarray(file.convert("RGB"))
    return (_dlib_chip if template == "dlib-150" else _yunet_chip)(image)


def _dlib_chip(image: np.ndarray) -> np.ndarray | None:
    detector, predictor = _dlib_tools()
    for upsampling in (0, 1):
        if faces := list(detector(image, upsampling)):
            boxes = [[r.left(), r.top(), r.width(), r.height()] for r in faces]
            shape = predictor(image, faces[choose(boxes, image.shape[:2])])
            return dlib.get_face_chip(image, shape, size=150, padding=0.25)
    return None


def _yunet_chip(image: np.ndarray) -> np.ndarray | None:
    found = [points for scale in SCALES if (points := _yunet_points(image, scale)) is not None]
    return arcface_chip(image, np.median(found, axis=0)) if found else None


def _yunet_points(image: np.ndarray, scale: float) -> np.ndarray | None:
    """YuNet's five landmarks (5, 2) in pixels of `image`, found at `scale` times its size."""
    size = round(image.shape[1] * scale), round(image.shape[0] * scale)
    bgr = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)[..., ::-1]
    detector = _yunet()
    detector.setInputSize(size)
    faces = detector.detect(np.ascontiguousarray(bgr))[1]
    if faces is None:
        return None
    chosen = faces[choose(faces[:, :4], (size[1], size[0]))]
    # YuNet's order, from the subject's right, is left to right in the image.
    return (chosen[4:14].reshape(5, 2).astype(np.float64) + 0.5) / scale - 0.5


def choose(boxes, size: tuple[int, int]) -> int:
    """The large, central face: area less twice the squared distance to the centre.

    Args:
        boxes: (left, top, width, height) of each face.
        size: (height, width) of the image.
    """
    left, top, width, height = np.asarray(boxes, np.float64).T
    offset = (left + width / 2 - size[1] / 2) ** 2 + (top + height / 2 - size[0] / 2) ** 2
    return int(np.argmax(width * height - 2 * offset))


@cache
def _dlib_tools():
    predictor = str(dlib_file("shape_predictor_5_face_landmarks.dat"))
    return dlib.get_frontal_face_detector(), dlib.shape_predictor(predictor)


@cache
def _yunet():
    path = shared_data() / "models" / "face_detection_yunet_2023mar.onnx"
    return cv2.FaceDetectorYN.create(str(path), "", (250, 250), score_threshold=0.6)


def test_pairs(data: Lfw, count: int) -> np.ndarray:
    """(count,) indices of usable pairs, half genuine and half impostor, spread over LFW View 1."""
    chosen = []
    for kind, wanted in ((True, count - count // 2), (False, count // 2)):
        usable = np.flatnonzero(data.usable & (data.same == kind))
        chosen.append(usable[np.linspace(0, len(usable) - 1, wanted).astype(int)])
    return np.concatenate(chosen)


def calibration_images(data: Lfw, pairs: np.ndarray, count: int) -> np.ndarray:
    """(count,) indices of chips of other people than those of some pairs, one photograph each."""
    person = [Path(name).parent.name for name in data.names]
    tested = {person[i] for i in data.pairs[pairs].ravel()}
    firsts = {person[i]: i for i in reversed(range(len(person))) if data.found[i]}
    others = np.array(sorted(i for name, i in firsts.items() if name not in tested))
    return others[np.linspace(0, len(others) - 1, count).astype(int)]


def add_cache_option(parser: argparse.ArgumentParser) -> None:
    """`--cache`, for every script that reads chips."""
    parser.add_argument(
        "--cache", type=Path, default=DEFAULT_CACHE, help="folder of the chips (%(default)s)"
    )


def main() -> None:
    """Fill the cache and say how many faces were found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_cache_option(parser)
    parser.add_argument("--workers", type=int, default=2, help="processes (%(default)s)")
    options = parser.parse_args()
    for template in TEMPLATES:
        data = load(template, options.cache, options.workers)
        print(
            f"{template}: {data.found.sum()} of {len(data.found)} faces found by "
            f"{DETECTORS[template]}; {data.usable.sum()} of {len(data.pairs)} pairs usable"
        )


if __name__ == "__main__":
    main()

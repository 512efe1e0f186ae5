"""Landmarks against dlib's own."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dlib2onnx
from fggb_jax.errors import ImageError, ModelError
from fggb_jax.faces import shape_predictor
from fggb_jax.faces.shape_predictor import predict
from fggb_jax.models.load import dlib_weights

PORTRAITS = Path(shape_predictor.__file__).parents[1] / "data" / "portraits"
# dlib rounds its points to whole pixels.
HALF = 0.5 + 1e-4


@pytest.fixture(scope="module", params=[5, 68])
def pair(request):
    """Our predictor and dlib's."""
    dlib = pytest.importorskip("dlib", reason="the oracle is absent: pip install dlib-bin")
    try:
        name = f"shape_predictor_{request.param}_face_landmarks.dat"
        path = dlib_weights().with_name(name)
    except ModelError as error:
        pytest.skip(str(error))
    return dlib2onnx.read_shape_predictor(path), dlib.shape_predictor(str(path))


def expected(oracle, image, boxes):
    import dlib

    found = [oracle(image, dlib.rectangle(*box)) for box in boxes]
    return np.array([[(p.x, p.y) for p in shape.parts()] for shape in found])


def around(box, count, rng):
    """Boxes near one, some of them beyond the image."""
    reach = max(4, (box[2] - box[0]) // 4)
    return [box, *(np.array(box) + rng.integers(-reach, reach, (count, 4))).tolist()]


def agree(pair, image, boxes):
    ours, oracle = pair
    wanted = expected(oracle, image, boxes)
    points = predict(ours, image, boxes)
    assert points.shape == wanted.shape
    assert np.abs(points - wanted).max() <= HALF
    np.testing.assert_array_equal(np.floor(points + 0.5), wanted)


@pytest.mark.parametrize("colour", ["RGB", "L"])
def test_portraits(pair, colour):
    import dlib

    detect, rng = dlib.get_frontal_face_detector(), np.random.default_rng(0)
    for path in sorted(PORTRAITS.glob("*.jpg")):
        image = np.asarray(Image.open(path).convert(colour))
        (face,) = detect(image)
        box = [face.left(), face.top(), face.right(), face.bottom()]
        # More boxes than go through the forests at a time.
        agree(pair, image, around(box, shape_predictor._TOGETHER + 3, rng))


def test_photographs(pair, shared):
    rng = np.random.default_rng(1)
    for person in sorted((shared / "lfw" / "images").iterdir())[:6]:
        image = np.asarray(Image.open(min(person.glob("*.jpg"))).convert("RGB"))
        agree(pair, image, around([80, 80, 169, 169], 4, rng))


def test_boxes_far_beyond_the_image(pair):
    image = np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8)
    agree(pair, image, [[-30, -20, 5, 16], [45, 30, 300, 290], [900, 900, 980, 980]])
    far = predict(pair[0], image, [[1e300, 1e300, 1.5e300, 1.5e300]])
    assert np.isfinite(far).all()


def test_a_box_does_not_see_the_others(pair):
    image = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    boxes = [[20, 20, 120, 120], [60, 50, 190, 180], [20, 20, 120, 120]]
    together = predict(pair[0], image, boxes)
    for box, points in zip(boxes, together, strict=True):
        np.testing.assert_array_equal(predict(pair[0], image, [box])[0], points)


def test_a_view_is_as_its_copy(pair):
    image = np.random.default_rng(0).integers(0, 256, (90, 80, 3), dtype=np.uint8)[::-1, 5:]
    boxes = [[10, 10, 60, 60]]
    np.testing.assert_array_equal(
        predict(pair[0], image, boxes), predict(pair[0], image.copy(), boxes)
    )


def test_no_boxes(pair):
    count = len(pair[0].initial_shape)
    for none in ([], np.zeros((0, 4))):
        assert predict(pair[0], np.zeros((9, 9), np.uint8), none).shape == (0, count, 2)


def one_tree():
    """One tree of one split over two points, x and y of (0, 0) and (1, 1)."""
    return dlib2onnx.ShapePredictor(
        np.float32([[0, 0], [1, 1]]),
        (
            dlib2onnx.Level(
                first=np.int32([[0]]),
                second=np.int32([[1]]),
                threshold=np.float32([[10]]),
                leaves=np.float32([[[[0.5, 0], [0.5, 0]], [[0, 0.25], [0, 0.25]]]]),
                anchor=np.int32([0, 1]),
                delta=np.float32([[0.5, 0], [0, -0.25]]),
            ),
        ),
    )


@pytest.mark.parametrize(("bright", "moved"), [(111, (4, 0)), (110, (0, 2))])
def test_by_hand(bright, moved):
    """The box is 9 pixels wide: places (4, 0) and (8, 6) are looked at, one leaf is added."""
    image = np.zeros((20, 20), np.uint8)
    image[3 + 0, 2 + 4], image[3 + 6, 2 + 8] = bright, 100
    points = predict(one_tree(), image, [[2, 3, 10, 11]])
    np.testing.assert_allclose(points, [np.array([[2, 3], [10, 11]]) + moved])


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4), np.uint8),
        np.zeros(4, np.uint8),
    ],
)
def test_what_is_no_image(image):
    with pytest.raises(ImageError, match=r"give \(H, W\) or \(H, W, 3\) uint8"):
        predict(one_tree(), image, [[0, 0, 3, 3]])


@pytest.mark.parametrize("boxes", [[0, 0, 3, 3], [[0, 0, 3]], [[0, 0, np.nan, 3]]])
def test_what_are_no_boxes(boxes):
    with pytest.raises(ImageError, match=r"give \(B, 4\) finite numbers"):
        predict(one_tree(), np.zeros((4, 4), np.uint8), boxes)

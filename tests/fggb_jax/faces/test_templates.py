import numpy as np
import pytest

import fggb_jax as fx
from fggb_jax.errors import ImageError, ModelError
from fggb_jax.faces import similarity
from fggb_jax.faces.templates import TEMPLATES, ArcFace, Dlib, template

DLIB_INDEX = {"dlib-5": 5, "dlib-68": 68}


def a_face(count, seed=0):
    """Integer landmarks, as dlib has them, near its mean shape turned and enlarged."""
    shape = Dlib.POINTS_5 if count == 5 else np.full((68, 2), 0.5)
    if count == 68:
        shape[list(Dlib.USED_68)] = Dlib.POINTS_68
    angle = 0.2 + seed
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    noise = np.random.default_rng(seed).normal(0, 6, (count, 2))
    return np.rint(shape @ turn.T * 260 + 300 + noise)


@pytest.mark.parametrize("size", [150, 96, 224])
@pytest.mark.parametrize("scheme", ["dlib-5", "dlib-68"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_chip_lies_where_dlibs_lies(scheme, size, seed):
    dlib = pytest.importorskip("dlib")
    points = a_face(DLIB_INDEX[scheme], seed)
    parts = dlib.points([dlib.point(int(x), int(y)) for x, y in points])
    shape = dlib.full_object_detection(dlib.rectangle(0, 0, 9, 9), parts)
    details = dlib.get_face_chip_details(shape, size, 0.25)
    rect = details.rect
    theirs = np.array([[rect.left(), rect.top()], [rect.right(), rect.bottom()]])
    centre = theirs.mean(axis=0)
    c, s = np.cos(details.angle), np.sin(details.angle)
    theirs = (theirs - centre) @ np.array([[c, s], [-s, c]]) + centre
    matrix = template("dlib-150").matrix({scheme: points}, (size, size))
    corners = np.array([[0, 0], [size - 1, size - 1]], float)
    ours = similarity.apply(similarity.invert(matrix), corners)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)


def test_arcface_is_fitted_as_insightface_does():
    transform = pytest.importorskip("skimage.transform")
    points = ArcFace.POINTS * 3 + np.random.default_rng(0).normal(0, 3, (5, 2))
    theirs = transform.SimilarityTransform.from_estimate(points, ArcFace.POINTS).params[:2]
    ours = template("arcface-112").matrix({"arcface-5": points}, (112, 112))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-10)


def test_another_size_shows_the_same():
    points = ArcFace()
    np.testing.assert_allclose(points.points((112, 112)), ArcFace.POINTS)
    edges = (points.points((224, 224)) + 0.5) / 2 - 0.5
    np.testing.assert_allclose(edges, ArcFace.POINTS)
    # SphereFace's template: 96 wide, 8 pixels less on either side.
    np.testing.assert_allclose(points.points((112, 96)), ArcFace.POINTS - [8, 0])


def test_every_card_finds_its_template_and_scheme():
    points = {"arcface-5": ArcFace.POINTS * 2, "dlib-5": a_face(5), "dlib-68": a_face(68)}
    for card in fx.cards().values():
        matrix = template(card.template).matrix(points, card.size, card.landmarks)
        assert matrix.shape == (2, 3)


def test_the_scheme_decides_and_points_that_are_there_come_first():
    five, many = a_face(5, 1), a_face(68, 2)
    both = {"dlib-68": many, "dlib-5": five}
    dlib, size = template("dlib-150"), (150, 150)
    of_five, of_many = dlib.matrix({"dlib-5": five}, size), dlib.matrix(both, size, "dlib-68")
    assert not np.allclose(of_five, of_many)
    np.testing.assert_array_equal(dlib.matrix(both, size), of_five)
    np.testing.assert_array_equal(dlib.matrix({"dlib-68": many}, size), of_many)
    derived = dlib.matrix({"dlib-68": many}, size, "dlib-5")
    np.testing.assert_array_equal(
        derived, dlib.matrix({"dlib-5": many[[45, 42, 36, 39, 33]]}, size)
    )


@pytest.mark.parametrize(
    ("name", "landmarks", "size", "scheme", "error", "message"),
    [
        ("dlib-150", {"arcface-5": ArcFace.POINTS}, (150, 150), None, ImageError,
         r"needs dlib-5 or dlib-68 landmarks; the face has arcface-5"),
        ("arcface-112", {}, (112, 112), None, ImageError, r"the face has none"),
        ("arcface-112", {"dlib-5": a_face(5)}, (112, 112), "dlib-5", ModelError,
         r"'arcface-112' does not take 'dlib-5' landmarks; it takes arcface-5"),
        ("arcface-112", {}, (112, 112), "mtcnn", ModelError, r"no landmark scheme 'mtcnn'"),
        ("dlib-150", {"dlib-5": a_face(5)}, (150, 100), None, ModelError,
         r"square chips; the card's size is 150×100"),
        ("dlib-150", {"dlib-5": np.zeros((5, 2))}, (150, 150), None, ImageError, "coincide"),
        ("dlib-150", {"dlib-5": a_face(5) * [-1, 1]}, (150, 150), None, ImageError, "mirror"),
        ("arcface-112", {"arcface-5": np.eye(5, 2) * np.nan}, (112, 112), None, ImageError,
         "not finite"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(name, landmarks, size, scheme, error, message):
    with pytest.raises(error, match=message):
        template(name).matrix(landmarks, size, scheme)


def test_an_unknown_template_lists_the_known():
    assert sorted(TEMPLATES) == ["arcface-112", "dlib-150"]
    with pytest.raises(ModelError, match=r"no template 'mine'; templates: arcface-112, dlib-150"):
        template("mine")
    with pytest.raises(ModelError, match=r"card names no template.*arcface-112, dlib-150"):
        template(None)

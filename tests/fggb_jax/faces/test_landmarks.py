import numpy as np
import pytest

from fggb_jax.data import samples
from fggb_jax.errors import ImageError, ModelError
from fggb_jax.faces.landmarks import SCHEMES, check_points, find


def face_68():
    """68 points that are told apart: point i at (i, 1000 + i²)."""
    i = np.arange(68.0)
    return np.stack([i, 1000 + i**2], axis=1)


def test_arcface_points_of_the_68():
    found = find({"dlib-68": face_68()}, "arcface-5")
    left, right = np.arange(36, 42), np.arange(42, 48)
    expected = [
        [left.mean(), 1000 + (left**2).mean()],
        [right.mean(), 1000 + (right**2).mean()],
        [30, 1900],
        [48, 1000 + 48**2],
        [54, 1000 + 54**2],
    ]
    np.testing.assert_allclose(found, expected)


def test_dlibs_five_points_of_the_68():
    np.testing.assert_array_equal(
        find({"dlib-68": face_68()}, "dlib-5")[:, 0], [45, 42, 36, 39, 33]
    )


def test_points_that_are_there_come_before_derived_ones():
    own = np.arange(10.0).reshape(5, 2)
    np.testing.assert_array_equal(find({"dlib-68": face_68(), "dlib-5": own}, "dlib-5"), own)


def test_nothing_leads_from_one_five_to_the_other():
    own = np.arange(10.0).reshape(5, 2)
    assert find({"dlib-5": own}, "arcface-5") is None
    assert find({"arcface-5": own}, "dlib-68") is None


def test_the_orders_are_those_of_the_sample_portraits():
    for schemes in samples.landmarks()["photos"].values():
        left, right, nose, mouth_left, mouth_right = schemes["arcface-5"]
        assert left[0] < nose[0] < right[0]
        assert mouth_left[0] < mouth_right[0]
        assert left[1] < nose[1] < mouth_left[1]
        outer_right, inner_right, outer_left, inner_left, base = schemes["dlib-5"]
        assert outer_left[0] < inner_left[0] < inner_right[0] < outer_right[0]
        assert base[1] > outer_left[1]


def test_an_unknown_scheme_lists_the_known():
    with pytest.raises(ModelError, match=r"no landmark scheme 'mtcnn'.*arcface-5, dlib-5, dlib-68"):
        find({}, "mtcnn")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_another_number_of_points_is_refused(scheme):
    with pytest.raises(ImageError, match=rf"shape \(4, 2\) were given; {scheme} takes"):
        check_points(np.zeros((4, 2)), scheme)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_points_that_are_not_finite_are_refused(bad):
    points = np.zeros((5, 2))
    points[3, 1] = bad
    with pytest.raises(ImageError, match="not finite"):
        check_points(points, "dlib-5")

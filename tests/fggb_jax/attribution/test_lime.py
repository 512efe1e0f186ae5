import numpy as np
import pytest

import fggb_jax as fx
from fggb_jax.attribution.lime import kernel, ridge, superpixels
from hidden_parts import (
    SIZE,
    compared,
    curved_model,
    face_map,
    faces,
    linear,
    to_the_first_axis,
    weights,
)
from tolerances import assert_close


def test_ridge_is_sklearns():
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    x, y, w = rng.integers(0, 2, (60, 9)).astype(bool), rng.normal(size=60), rng.random(60)
    theirs = linear_model.Ridge(alpha=0.7).fit(x.astype(float), y, sample_weight=w)
    assert_close(ridge(x, y, w, 0.7), theirs.coef_)


def test_the_kernel_by_hand():
    seen = np.array([[1, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]], bool)
    expected = np.exp([0, -((0.5 / 0.25) ** 2), -((1 / 0.25) ** 2)])
    assert_close(kernel(seen, 0.25), expected)


def test_the_kernel_is_of_sklearns_distance():
    pairwise = pytest.importorskip("sklearn.metrics")
    seen = np.random.default_rng(0).integers(0, 2, (20, 9)).astype(bool)
    seen[:, 0] = True
    apart = pairwise.pairwise_distances(seen * 1.0, np.ones((1, 9)), metric="cosine")[:, 0]
    assert_close(kernel(seen, 0.4), np.exp(-((apart / 0.4) ** 2)))


def test_a_face_of_one_colour_is_a_grid():
    labels = superpixels(np.full((*SIZE, 3), 0.5, np.float32), 4, 0.5)
    expected = np.kron([[0, 1], [2, 3]], np.ones((7, 6), int))
    np.testing.assert_array_equal(labels, expected)


def test_segments_follow_colours():
    """A border that is not on the grid."""
    image = np.zeros((*SIZE, 3), np.float32)
    image[:, 4:] = 1
    labels = superpixels(image, 9, 0.2)
    assert not set(labels[:, :4].ravel()) & set(labels[:, 4:].ravel())
    assert (np.unique(labels) == np.arange(labels.max() + 1)).all()
    assert 2 <= labels.max() + 1 <= 9


@pytest.mark.parametrize("seed", [0, 1])
def test_coefficients_of_a_linear_model(seed):
    """Each segment has what its pixels add to the cosine, whatever is drawn."""
    w, image = weights(), faces()[0]
    options = {"segments": 9, "samples": 60, "penalty": 1e-6, "fill": "black", "seed": seed}
    c = to_the_first_axis(linear(w), image)
    s = face_map(c, "lime", **options)
    labels = superpixels(image, 9, 0.5)
    sums = np.bincount(labels.ravel(), (w * image.mean(-1)).ravel())
    assert_close(s, sums[labels], 1e-3)
    assert c.forwards == 60


def test_segments_are_hidden_by_their_mean_colour():
    """A model that adds up all pixels misses none of them then."""
    w, image = np.full(SIZE, 1 / 300), faces()[0]
    c = to_the_first_axis(linear(w), image)
    assert np.abs(face_map(c, "lime", samples=40)).max() < 1e-6
    assert face_map(c, "lime", samples=40, fill="black").min() > 0


def test_the_penalty_shrinks():
    c = compared(curved_model(), faces())
    free, bound = (face_map(c, "lime", samples=80, penalty=p) for p in (0.01, 100))
    assert np.abs(bound).max() < 0.2 * np.abs(free).max()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"segments": 0}, "segments is 0; give a whole number from 1 to 144"),
        ({"samples": 0}, "samples is 0; give a whole number, 1 or more"),
        ({"width": 0}, "width is 0; give a number above 0"),
        ({"penalty": 0}, "penalty is 0"),
        ({"compactness": -1.0}, "compactness is -1.0"),
        ({"fill": "red"}, "fill is 'red'"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(fx.OptionError, match=message):
        face_map(compared(curved_model(), faces()), "lime", **options)

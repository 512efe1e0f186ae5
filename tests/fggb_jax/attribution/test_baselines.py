import numpy as np
import pytest

import fggb_jax as fx
import twin
from tolerances import assert_close


@pytest.fixture(scope="module")
def faces():
    return np.concatenate([twin.pair(), twin.pair(seed=2)])


def explain(faces, method, **options):
    return fx.explain(twin.model(), *faces, method=method, **options)


def black_box(card=twin.CARD):
    return fx.BlackBox(lambda images: images.mean((1, 2)), card)


def test_the_centre(faces):
    q = explain(faces[:2], "centre").probe.q
    # 12×10: the middle lies between four pixels, half a pixel from each along both axes.
    corner = np.hypot(5.5, 4.5)
    np.testing.assert_allclose(q[5, 4], 1 - np.hypot(0.5, 0.5) / corner, rtol=1e-6)
    np.testing.assert_allclose(q[0, 3], 1 - np.hypot(5.5, 1.5) / corner, rtol=1e-6)
    np.testing.assert_allclose(q[[0, 0, -1, -1], [0, -1, 0, -1]], 0, atol=1e-6)
    np.testing.assert_array_equal(q, q[::-1, ::-1])


def test_the_centre_of_an_odd_size_is_1():
    card = fx.Card("odd", size=(7, 5), threshold=0.3)
    images = np.random.default_rng(0).random((2, 7, 5, 3), dtype=np.float32)
    assert fx.explain(black_box(card), *images, method="centre").probe.q[3, 2] == 1


def test_random_belongs_to_image_and_seed(faces):
    e, swapped = explain(faces[:2], "random"), explain(faces[[1, 0]], "random")
    other = explain(faces[[0, 2]], "random")
    np.testing.assert_array_equal(e.probe.q, other.probe.q)
    np.testing.assert_array_equal(e.probe.q, swapped.gallery.q)
    for different in (e.gallery.q, explain(faces[:2], "random", seed=1).probe.q):
        assert np.abs(different - e.probe.q).max() > 0.1


def test_random_is_scaled_and_smooth(faces):
    rough = explain(faces[:2], "random", sigma=0).probe.q
    smooth = explain(faces[:2], "random", sigma=3).probe.q
    for q in (rough, smooth):
        assert (q.min(), q.max()) == (0, 1)
    assert np.abs(np.diff(smooth, axis=0)).mean() < 0.5 * np.abs(np.diff(rough, axis=0)).mean()


def test_random_is_no_louder_at_the_edges():
    card = fx.Card("square", size=(32, 32), threshold=0.3)
    rng = np.random.default_rng(0)
    far = np.zeros((32, 32))
    for _ in range(100):
        images = rng.random((2, 32, 32, 3), dtype=np.float32)
        q = fx.explain(black_box(card), *images, method="random", sigma=3).probe.q
        far += (q - q.mean()) ** 2 / 100
    edge = np.concatenate([far[[0, -1]].ravel(), far[:, [0, -1]].ravel()]).mean()
    assert 0.7 < edge / far[8:-8, 8:-8].mean() < 1.4


def test_the_image_mean_is_fggbs_q(faces):
    e, fggb = explain(faces[:2], "image_mean"), explain(faces[:2], "fggb")
    for ours, theirs in ((e.probe, fggb.probe), (e.gallery, fggb.gallery)):
        assert_close(ours.q, theirs.q)
        assert_close(ours.p, e.cosine * theirs.q)


def test_the_image_mean_asks_no_partner(faces):
    first, second = explain(faces[:2], "image_mean"), explain(faces[[0, 3]], "image_mean")
    np.testing.assert_array_equal(first.probe.q, second.probe.q)


def test_a_memory_budget_does_not_change_the_image_mean(faces):
    whole = explain(faces[:2], "image_mean").probe.q
    assert_close(explain(faces[:2], "image_mean", memory=100_000).probe.q, whole)


@pytest.mark.parametrize("method", ["centre", "random"])
def test_they_need_no_gradients(faces, method):
    e = fx.explain(black_box(), *faces[:2], method=method)
    assert e.probe.q.shape == twin.SIZE


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigma": -1}, "sigma is -1; give a number, 0 or more"),
        ({"seed": 0.5}, r"seed is 0\.5; give a whole number, 0 or more"),
    ],
)
def test_options_that_make_no_sense(faces, options, message):
    with pytest.raises(fx.OptionError, match=message):
        explain(faces[:2], "random", **options)

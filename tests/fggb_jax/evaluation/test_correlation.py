import numpy as np
import pytest

from fggb_jax.evaluation.correlation import cosine, ranks, spearman


def test_ties_share_their_mean_rank():
    assert ranks(np.array([[3.0, 1.0], [3.0, 0.0]])).tolist() == [3.5, 2, 3.5, 1]


def test_spearman_by_hand():
    """Of ranks that differ by d: 1 − 6 Σd² / n(n² − 1) = 1 − 6·2 / 60."""
    assert spearman(np.array([1.0, 2, 3, 4]), np.array([1.0, 2, 40, 30])) == pytest.approx(0.8)


def test_only_the_order_counts():
    a = np.random.default_rng(0).normal(size=(5, 7))
    assert spearman(a, np.exp(a)) == pytest.approx(1)
    assert spearman(a, -(a**3)) == pytest.approx(-1)


@pytest.mark.parametrize("values", [3, 50])
def test_as_scipy_with_many_ties_and_few(values):
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(1)
    a = rng.integers(0, values, (12, 9)).astype(float)
    b = a + rng.integers(0, values, (12, 9))
    want = stats.spearmanr(a.ravel(), b.ravel()).statistic
    assert spearman(a, b) == pytest.approx(want, abs=1e-12)
    np.testing.assert_allclose(ranks(a), stats.rankdata(a))


def test_cosine_of_maps_however_small():
    assert cosine(np.array([[1e-200, 0]]), np.array([[3e200, 4e200]])) == pytest.approx(0.6)


@pytest.mark.parametrize("alike", [spearman, cosine])
@pytest.mark.parametrize("a", [np.zeros((2, 2)), np.array([[1, np.nan], [0, 2]])])
def test_a_map_that_says_nothing_is_like_no_other(alike, a):
    b = np.arange(4.0).reshape(2, 2)
    assert np.isnan(alike(a, b))
    assert np.isnan(alike(b, a))


def test_a_constant_map_ranks_nothing():
    assert np.isnan(spearman(np.full(4, 0.1), np.arange(4.0)))


@pytest.mark.parametrize("alike", [spearman, cosine])
def test_maps_of_two_sizes_are_not_compared(alike):
    with pytest.raises(ValueError, match="two of one shape"):
        alike(np.zeros((2, 3)), np.zeros((3, 2)))

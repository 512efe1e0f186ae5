import itertools

import numpy as np
import pytest

import fggb_jax as fx
from fggb_jax.evaluation.paired import beats, differences, holm, means

NAN = float("nan")


def test_means_and_counts_by_hand():
    found = means([[1, 2, 6], [NAN, 4, 8], [NAN, NAN, 5], [NAN, NAN, NAN]])
    np.testing.assert_array_equal(found.mean, [3, 6, 5, NAN])
    assert found.pairs.tolist() == [3, 2, 1, 0]
    assert np.isnan(found.low).tolist() == [False, False, True, True]
    assert found.low[0] == 1  # of 27 resamples one has the least score alone: 3.7 %
    assert found.high[0] == 6


def test_the_interval_is_that_of_all_resamples():
    """Of four pairs there are 4^4: the quantiles of their means, to Monte Carlo's error."""
    values = np.array([0.0, 1, 3, 7])
    every = [np.mean(values[list(i)]) for i in itertools.product(range(4), repeat=4)]
    found = means(values[None], resamples=20_000)
    np.testing.assert_allclose(
        [found.low[0], found.high[0]], np.quantile(every, [0.025, 0.975]), atol=0.26
    )


def test_an_interval_holds_the_truth_as_often_as_it_says():
    """95 %; of a skewed distribution and 40 pairs a percentile interval has some less."""
    rng = np.random.default_rng(0)
    values = rng.exponential(size=(400, 40))  # four hundred studies: their mean is 1
    found = means(values, resamples=500)
    held = np.mean((found.low < 1) & (found.high > 1))
    assert 0.89 < held < 0.97


def test_pairs_are_drawn_for_all_methods_together():
    """A method that is always better by 0.01 is so in every resample."""
    base = np.random.default_rng(0).normal(size=50)
    found = differences([base + 0.01], base)
    np.testing.assert_allclose([found.low[0], found.mean[0], found.high[0]], 0.01)
    alone = means([base, base + 0.01])
    assert alone.high[0] > alone.low[1]  # though their own intervals overlap
    np.testing.assert_allclose(alone.low[1] - alone.low[0], 0.01)


def test_signs_by_hand():
    """1, 2, 3: the sum 6 is reached by +++ and −−− of eight; −1, 2, 3 reaches 4 in four."""
    found = differences([[1, 2, 3], [-1, 2, 3], [0, 0, 0]], np.zeros(3))
    np.testing.assert_allclose(found.p, [2 / 8, 4 / 8, 1])


@pytest.mark.parametrize("pairs", [6, 12])
def test_exact_p_as_scipy(pairs):
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(pairs)
    x, y = rng.normal(0.4, 1, (2, pairs))
    want = stats.permutation_test(
        (x, y),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=10**5,
    )
    assert differences([x], y).p[0] == pytest.approx(want.pvalue)


def test_drawn_signs_come_near_to_all_signs():
    """14 pairs are drawn for; of the 2^14 patterns all are counted here."""
    d = np.random.default_rng(3).normal(0.4, 1, 14)
    signs = np.array(list(itertools.product((-1, 1), repeat=14)))
    want = np.mean(np.abs(signs @ d) >= abs(d.sum()) - 1e-9)
    found = differences([d], np.zeros(14)).p[0]
    assert found == pytest.approx(want, abs=4 * np.sqrt(want * (1 - want) / 9999))
    assert found == differences([d], np.zeros(14)).p[0]
    assert found != differences([d], np.zeros(14), seed=1).p[0]


def test_no_p_is_zero():
    assert differences([np.ones(60)], np.zeros(60)).p[0] == 1e-4


def test_missing_scores_change_no_p():
    """A pair that cannot be compared is as good as not there."""
    d = [1.0, 2, 4, -1, 3]
    found = differences([[*d, NAN, NAN]], np.zeros(7))
    assert found.p[0] == differences([d], np.zeros(5)).p[0]
    assert found.pairs[0] == 5
    assert found.mean[0] == np.mean(d)
    missing = differences([d], [NAN, 0, 0, NAN, 0])
    assert missing.pairs[0] == 3
    assert missing.mean[0] == 3


def test_what_has_one_pair_is_not_tested():
    found = differences([[1.0, NAN, NAN], [NAN] * 3, [1.0, 2, 3]], np.zeros(3))
    assert np.isnan(found.p).tolist() == [True, True, False]
    assert found.adjusted[2] == found.p[2]  # one comparison, so nothing to correct for
    assert not found.better().any()


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.04, 0.01, 0.03, NAN]), [0.06, 0.03, 0.06, NAN])
    np.testing.assert_allclose(holm([0.5, 0.6, 0.02]), [1, 1, 0.06])
    assert holm([]).tolist() == []


def test_a_method_must_beat_every_baseline():
    rng = np.random.default_rng(0)
    difficulty = rng.normal(size=80)
    good, centre, noise = (difficulty + shift + rng.normal(0, 0.3, 80) for shift in (1, 0.5, 0))
    assert beats([good, centre, noise], [centre, noise]).tolist() == [True, False, False]
    assert beats([good, centre], [noise]).tolist() == [True, True]
    assert beats([good, noise], [centre], "lower").tolist() == [False, True]


def test_of_methods_that_are_alike_none_wins():
    """Ten methods and a baseline, forty times: a winner in 5 % of them at most, or so."""
    rng = np.random.default_rng(0)
    wins = [
        beats(rng.normal(size=(10, 20)), rng.normal(size=(1, 20)), seed=i).any() for i in range(40)
    ]
    assert np.mean(wins) <= 0.125


def test_a_baseline_without_scores_is_not_beaten():
    ones = np.ones((1, 20))
    assert beats(ones, np.zeros((1, 20))).tolist() == [True]
    assert beats(ones, [np.zeros(20), np.full(20, NAN)]).tolist() == [False]


def test_the_same_seed_gives_the_same_numbers():
    values = np.random.default_rng(0).normal(size=(3, 40))
    for name in ("low", "high", "p"):
        first, again, other = (
            getattr(differences(values, values[0] * 0, seed=seed), name) for seed in (0, 0, 1)
        )
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()


def test_more_pairs_than_are_drawn_for_at_once(monkeypatch):
    from fggb_jax.evaluation import paired

    values = np.random.default_rng(0).normal(0.1, 1, (2, 30))
    whole = differences(values, np.zeros(30))
    monkeypatch.setattr(paired, "_AT_ONCE", 1000)
    parts = differences(values, np.zeros(30))
    np.testing.assert_array_equal(whole.low, parts.low)
    np.testing.assert_allclose(whole.p, parts.p, atol=0.02)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: means([1.0, 2.0]), "a row for each method"),
        (lambda: means([[1.0, np.inf]]), "infinite"),
        (lambda: means([[1.0, 2.0]], resamples=1), "takes 2 at least"),
        (lambda: differences([[1.0, 2.0]], [1.0]), "one score for each pair"),
        (lambda: beats([[1.0, 2.0]], [[1.0]]), "one at least"),
        (lambda: beats([[1.0, 2.0]], np.zeros((0, 2))), "one at least"),
    ],
)
def test_what_cannot_be_compared(call, message):
    with pytest.raises(fx.OptionError, match=message):
        call()

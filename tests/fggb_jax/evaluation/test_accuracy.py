import numpy as np
import pytest

import fggb_jax as fx
from fggb_jax.evaluation import ten_fold_accuracy
from fggb_jax.evaluation.accuracy import TooFewPairs


def sample(n=600, seed=0, apart=0.5):
    rng = np.random.default_rng(seed)
    same = rng.permutation(2 * n) < n
    return rng.normal(apart * same, 0.15), same


def test_two_folds_by_hand():
    """Fold 0 is best parted at 0.5, fold 1 at 0.7: each is judged with the other's threshold."""
    scores = [0.4, 0.6, 0.3, 0.9, 0.6, 0.8, 0.5, 0.9]
    same = [0, 1, 0, 1, 0, 1, 0, 1]
    found = ten_fold_accuracy(scores, same, [0] * 4 + [1] * 4)
    np.testing.assert_allclose(found.thresholds, [0.7, 0.5])
    assert found.folds == 2
    # With 0.7 fold 0 loses the pair of 0.6; with 0.5 fold 1 accepts 0.6 and 0.5.
    assert found.mean == pytest.approx((0.75 + 0.5) / 2)
    assert found.standard_error == pytest.approx(np.std([0.75, 0.5], ddof=1) / np.sqrt(2))


def test_the_threshold_is_never_chosen_on_what_it_judges():
    """Pure noise: about half is right, though a threshold chosen on the same pairs does better."""
    rng = np.random.default_rng(0)
    scores, same = rng.normal(size=400), np.arange(400) % 2 == 0
    assert ten_fold_accuracy(scores, same, np.arange(400) // 40).mean < 0.55


@pytest.mark.parametrize("folds", [None, np.arange(1200) // 120])
def test_near_the_bayes_accuracy_of_two_gaussians(folds):
    """Φ(0.5 / (2 · 0.15)) = 0.9522."""
    found = ten_fold_accuracy(*sample(), folds)
    assert abs(found.mean - 0.9522) < 3 * found.standard_error
    assert found.standard_error < 0.01
    assert found.folds == 10


def test_scikit_learns_folds_give_the_same_protocol():
    selection = pytest.importorskip("sklearn.model_selection")
    scores, same = sample(100)
    folds = np.empty(len(same), int)
    rates = []
    for i, (train, test) in enumerate(selection.StratifiedKFold(10).split(scores, same)):
        folds[test] = i
        edges = np.unique(scores[train])
        tried = [-np.inf, *((edges[1:] + edges[:-1]) / 2), np.inf]
        right = np.array([np.sum((scores[train] >= t) == same[train]) for t in tried])
        best = np.flatnonzero(right == right.max())
        threshold = tried[best[len(best) // 2]]
        rates.append(np.mean((scores[test] >= threshold) == same[test]))
    assert ten_fold_accuracy(scores, same, folds).mean == pytest.approx(np.mean(rates))


def test_random_folds_are_seeded_and_have_their_share_of_both_kinds():
    from fggb_jax.evaluation.accuracy import _stratified

    same = np.arange(100) < 25
    folds = _stratified(same, 0)
    assert np.bincount(folds[same]).tolist() == [3] * 5 + [2] * 5
    assert np.bincount(folds[~same]).tolist() == [8] * 5 + [7] * 5
    assert (folds == _stratified(same, 0)).all()
    assert (folds != _stratified(same, 1)).any()


def test_fewer_pairs_make_fewer_folds():
    assert ten_fold_accuracy([0.1, 0.2, 0.8, 0.9, 0.3], [0, 0, 1, 1, 0]).folds == 2


def test_a_perfect_model_is_always_right():
    found = ten_fold_accuracy(np.r_[np.full(50, 0.9), np.full(50, 0.1)], np.arange(100) < 50)
    assert (found.mean, found.standard_error) == (1, 0)
    np.testing.assert_allclose(found.thresholds, 0.5)


@pytest.mark.parametrize(
    ("same", "folds", "error", "message"),
    [
        ([1, 0, 0, 0], None, TooFewPairs, "two pairs of each kind"),
        ([1, 0, 1, 0], [3, 3, 3, 3], TooFewPairs, "in one fold"),
        ([1, 1, 0, 0], [0, 0, 1, 1], TooFewPairs, "without fold 0 all pairs are of one kind"),
        ([1, 0, 1, 0], [0, 1], fx.OptionError, "2 folds for 4 pairs"),
        ([1, 1, 1, 1], None, fx.OptionError, "all 4 scored pairs are genuine"),
    ],
)
def test_what_cannot_be_divided(same, folds, error, message):
    with pytest.raises(error, match=message):
        ten_fold_accuracy([0.1, 0.2, 0.3, 0.4], same, folds)

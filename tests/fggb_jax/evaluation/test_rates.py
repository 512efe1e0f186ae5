import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import fggb_jax as fx
from fggb_jax.evaluation import auc, calibrate, eer, errors_at, roc, tar_at_far

# 4 genuine, 5 impostor; 0.5 is shared by both kinds.
SCORES = np.array([0.9, 0.8, 0.5, 0.3, 0.6, 0.5, 0.2, 0.1, 0.0])
SAME = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0], bool)


@st.composite
def measured(draw, levels=12):
    """Scores with many ties, and both kinds of pairs."""
    values = draw(st.lists(st.integers(-levels, levels), min_size=2, max_size=60))
    same = draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values)))
    scores, same = np.array(values) / (levels + 1), np.array(same)
    assume(0 < same.sum() < len(same) and len(set(values)) > 1)
    return scores, same


def test_rates_by_hand():
    thresholds, fmr, fnmr = roc(SCORES, SAME)
    assert thresholds.tolist() == [math.inf, 0.9, 0.8, 0.6, 0.5, 0.3, 0.2, 0.1, 0.0]
    np.testing.assert_allclose(fmr, [0, 0, 0, 0.2, 0.4, 0.4, 0.6, 0.8, 1])
    np.testing.assert_allclose(fnmr, [1, 0.75, 0.5, 0.5, 0.25, 0, 0, 0, 0])


def test_area_by_hand():
    """Rightly ordered: 5 + 5 + 3.5 + 3 of 20."""
    assert auc(SCORES, SAME) == 16.5 / 20


def test_the_equal_error_by_hand():
    """Between 0.5 and 0.6: FMR 1/5, FNMR 2/4. Between 0.3 and 0.5: 2/5, 1/4, which is closer."""
    rate, threshold = eer(SCORES, SAME)
    assert rate == pytest.approx((0.4 + 0.25) / 2)
    assert threshold == pytest.approx(0.4)
    assert errors_at(SCORES, SAME, threshold) == (0.4, 0.25)


def test_two_intervals_that_are_equally_good():
    """Above 0.5 FMR 0 and FNMR 1/2, below it 1/2 and 0: the middle of both, which is 0.5."""
    assert eer([0.9, 0.5 - 0.4, 0.5, 0.2], [1, 0, 0, 1]) == (0.5, 0.35)
    assert eer([0.1, 0.4, 0.5, 0.9], [0, 1, 0, 1]) == (0.5, pytest.approx(0.45))


def test_a_perfect_and_a_reversed_model():
    assert eer([0.1, 0.2, 0.7, 0.9], [0, 0, 1, 1]) == (0, pytest.approx(0.45))
    assert eer([0.1, 0.2, 0.7, 0.9], [1, 1, 0, 0]).eer == 1
    assert auc([0.1, 0.2, 0.7, 0.9], [1, 1, 0, 0]) == 0


@settings(max_examples=100, deadline=None)
@given(measured())
def test_the_roc_is_scikit_learns(data):
    metrics = pytest.importorskip("sklearn.metrics")
    scores, same = data
    fmr, tpr, thresholds = metrics.roc_curve(same, scores, drop_intermediate=False)
    ours = roc(scores, same)
    np.testing.assert_array_equal(ours.thresholds, thresholds)
    np.testing.assert_allclose(ours.fmr, fmr, atol=1e-12)
    np.testing.assert_allclose(1 - ours.fnmr, tpr, atol=1e-12)
    assert auc(scores, same) == pytest.approx(metrics.roc_auc_score(same, scores), abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(measured())
def test_the_equal_error_is_the_best_that_there_is(data):
    """By trying a threshold in every gap; and the rates at the threshold are those it claims."""
    scores, same = data
    rate, threshold = eer(scores, same)
    edges = np.unique(scores)
    gaps = [errors_at(scores, same, t) for t in (edges[1:] + edges[:-1]) / 2]
    least = min(abs(a - b) for a, b in gaps)
    best = [(a + b) / 2 for a, b in gaps if abs(a - b) <= least + 1e-12]
    assert rate == pytest.approx(np.mean(best))
    fmr, fnmr = errors_at(scores, same, threshold)
    assert abs(fmr - fnmr) <= least + 1e-12 or len(best) == 2


@settings(max_examples=100, deadline=None)
@given(measured())
def test_a_rising_transform_changes_no_rate(data):
    scores, same = data
    other = np.exp(3 * scores)
    np.testing.assert_array_equal(roc(scores, same).fmr, roc(other, same).fmr)
    np.testing.assert_array_equal(roc(scores, same).fnmr, roc(other, same).fnmr)
    assert eer(scores, same).eer == eer(other, same).eer
    assert auc(scores, same) == auc(other, same)
    assert tar_at_far(scores, same, 0.5).tar == tar_at_far(other, same, 0.5).tar


@settings(max_examples=100, deadline=None)
@given(measured())
def test_swapping_the_kinds(data):
    """Distances instead of similarities: FMR and FNMR change places."""
    scores, same = data
    assert auc(-scores, ~same) == pytest.approx(auc(scores, same))
    assert auc(scores, ~same) == pytest.approx(1 - auc(scores, same))
    swapped = eer(-scores, ~same)
    assert swapped.eer == pytest.approx(eer(scores, same).eer)
    assert swapped.threshold == pytest.approx(-eer(scores, same).threshold)


@settings(max_examples=100, deadline=None)
@given(measured(), st.sampled_from([0.01, 0.1, 0.2, 0.29, 0.5, 1.0]))
def test_tar_is_the_greatest_that_the_far_allows(data, far):
    scores, same = data
    found = tar_at_far(scores, same, far)
    measurable = far >= 1 / (~same).sum() - 1e-12
    assert (found.tar is not None) == measurable == (found.reason == "")
    if measurable:
        rates = [errors_at(scores, same, t) for t in (*np.unique(scores), 2.0)]
        assert found.tar == pytest.approx(max(1 - b for a, b in rates if a <= far + 1e-12))
        fmr, fnmr = errors_at(scores, same, found.threshold)
        assert fmr <= far + 1e-12
        assert found.tar == pytest.approx(1 - fnmr)


def test_tar_at_far_by_hand():
    """One of five impostors may be accepted; the second, with 0.5, is the one too many."""
    found = tar_at_far(SCORES, SAME, 0.2)
    assert (found.tar, found.threshold, found.reason) == (0.5, pytest.approx(0.55), "")
    assert tar_at_far(SCORES, SAME, 1).tar == 1


def test_ties_at_the_top_leave_nothing_to_accept():
    found = tar_at_far([0.9, 0.9, 0.9, 0.1], [1, 0, 0, 1], 0.5)
    assert found.tar == 0
    assert found.threshold > 0.9


def test_a_far_of_less_than_one_impostor_is_not_measured():
    same = np.arange(1000) < 500
    scores = np.random.default_rng(0).normal(same, 0.3)
    assert tar_at_far(scores, same, 1 / 500).tar is not None
    found = tar_at_far(scores, same, 1e-3)
    assert (found.tar, found.threshold) == (None, None)
    assert "FAR 0.001 cannot be measured with 500 impostor pairs" in found.reason
    assert found.reason.endswith("it takes 1,000 at least")


@pytest.mark.parametrize("far", [0, -1, 1.5, math.nan, "1e-3", None])
def test_a_far_that_makes_no_sense(far):
    with pytest.raises(fx.OptionError, match="makes no sense"):
        tar_at_far(SCORES, SAME, far)


def test_neighbouring_floats_are_still_parted():
    low = 0.3
    scores = [low, np.nextafter(low, 1)]
    rate, threshold = eer(scores, [0, 1])
    assert (rate, errors_at(scores, [0, 1], threshold)) == (0, (0, 0))


def test_a_threshold_comes_with_its_source():
    threshold, source = calibrate(SCORES, SAME, data="LFW View 1")
    assert threshold == eer(SCORES, SAME).threshold
    assert source == (
        "Equal error rate on 4 genuine and 5 impostor pairs of LFW View 1, EER 32.50 %"
    )
    threshold, source = calibrate(SCORES, SAME, "far=0.2")
    assert threshold == pytest.approx(0.55)
    assert source == "FAR at most 0.2 on 4 genuine and 5 impostor pairs, TAR 50.00 %"


@pytest.mark.parametrize("rule", ["best", "far", "far=", "far=x", "far=0", "far=nan", "eer=1"])
def test_unknown_rules(rule):
    with pytest.raises(fx.OptionError, match="no rule"):
        calibrate(SCORES, SAME, rule)


def test_a_rule_that_cannot_be_measured():
    with pytest.raises(fx.OptionError, match=r"FAR 0\.001 cannot be measured with 5 impostor"):
        calibrate(SCORES, SAME, "far=1e-3")


@pytest.mark.parametrize("function", [roc, auc, eer, calibrate])
@pytest.mark.parametrize(
    ("scores", "same", "message"),
    [
        ([0.1, 0.2], None, "do not say which are genuine"),
        ([0.1, 0.2], [1, 1], "all 2 scored pairs are genuine"),
        ([0.1, 0.2], [0, 0], "all 2 scored pairs are impostor"),
        ([0.1, np.nan, np.inf], [1, 0, 1], "2 of 3 scores are not finite, the first at 1"),
        ([0.1], [1], "1 scored pairs; a measurement takes 2"),
        ([], [], "0 scored pairs"),
        ([0.5, 0.5, 0.5], [1, 0, 0], r"all 3 scores are 0\.5"),
        ([0.1, 0.2], [1, 2], "label 2 at 1"),
        ([0.1, 0.2], [1.0, np.nan], "label nan at 1"),
        ([0.1, 0.2], [1, -1], "label -1 at 1"),
        ([0.1, 0.2, 0.3], [1, 0], r"scores of shape \(3,\) and labels of shape \(2,\)"),
        ([[0.1, 0.2]], [[1, 0]], r"scores of shape \(1, 2\)"),
        (["a", "b"], [1, 0], "scores of type <U1"),
        ([0.1, 0.2], ["1", "0"], "labels of type <U1"),
        ([True, False], [1, 0], "scores of type bool"),
    ],
)
def test_what_allows_no_measurement(function, scores, same, message):
    with pytest.raises(fx.OptionError, match=message):
        function(scores, same)

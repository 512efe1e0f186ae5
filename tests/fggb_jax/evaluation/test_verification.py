import json
import math

import numpy as np
import pytest

import fggb_jax as fx
from fggb_jax.evaluation import auc, eer, ten_fold_accuracy, verify


def sample(n=500, seed=0):
    rng = np.random.default_rng(seed)
    same = np.arange(2 * n) < n
    return rng.normal(0.5 * same, 0.12), same


def test_the_report_holds_what_the_functions_say():
    scores, same = sample()
    folds = np.arange(1000) % 10
    report = verify(scores, same, dropped=3, folds=folds, data="a test")
    assert (report.pairs, report.dropped) == (1003, 3)
    assert (report.genuine, report.impostor) == (500, 500)
    assert (report.eer, report.threshold) == eer(scores, same)
    assert report.auc == auc(scores, same)
    accuracy = ten_fold_accuracy(scores, same, folds)
    assert (report.accuracy, report.accuracy_standard_error) == accuracy[:2]
    assert report.fmr == np.mean(scores[~same] >= report.threshold)
    assert report.fnmr == np.mean(scores[same] < report.threshold)
    assert "pairs of a test, EER" in report.threshold_source


def test_as_json():
    values = json.loads(json.dumps(verify(*sample(), dropped=3).to_dict(), allow_nan=False))
    assert {"pairs", "dropped", "eer", "auc", "accuracy", "threshold", "tar_at_far"} <= set(values)
    assert type(values["pairs"]) is int
    assert all(0 <= values[name] <= 1 for name in ("eer", "auc", "accuracy", "fmr", "fnmr"))
    tars = values["tar_at_far"]
    assert list(tars) == ["0.1", "0.01", "0.001", "0.0001"]
    assert 0 <= tars["0.01"] <= tars["0.1"] <= 1
    assert tars["0.001"] is tars["0.0001"] is None
    assert values["intervals"]["tar_at_far"]["0.001"] is None
    assert len(values["intervals"]["eer"]) == 2
    assert sum("cannot be measured" in note for note in values["notes"]) == 2


def test_as_text():
    text = verify(*sample(), dropped=3, data="a test").table()
    for words in (
        "1,003 pairs, 3 dropped: 500 genuine, 500 impostor",
        "accuracy, 10 folds",
        "standard error",
        "not measured",
        "Equal error rate on 500 genuine and 500 impostor pairs of a test",
        "1,000 resamples",
        "note: FAR 0.001 cannot be measured",
    ):
        assert words in text
    assert all(len(line) <= 120 for line in text.splitlines())


def test_text_never_rounds_to_perfection():
    same = np.arange(60_000) < 30_000
    scores = np.where(same, 0.9, 0.1) + np.linspace(0, 0.01, 60_000)
    scores[0] = 0.0
    text = verify(scores, same, resamples=10).table()
    assert "EER < 0.01 %" in text
    assert "EER                  < 0.01 %" in text
    assert "> 99.99 %" in text


def test_another_rule():
    report = verify(*sample(), rule="far=0.01")
    assert report.fmr <= 0.01
    assert report.threshold > report.eer
    assert report.threshold_source.startswith("FAR at most 0.01")


def test_too_few_pairs_for_folds_have_no_accuracy_and_say_so():
    report = verify([0.9, 0.1, 0.2], [1, 0, 0])
    assert (report.accuracy, report.folds) == (None, None)
    assert any("no accuracy: a cross-validation takes two" in note for note in report.notes)
    assert json.dumps(report.to_dict())
    assert "accuracy," not in report.table()


@pytest.mark.parametrize(
    ("scores", "options", "message"),
    [
        ([0.1, math.nan, 0.2, 0.3], {}, "not finite"),
        ([0.1, 0.1, 0.1, 0.1], {}, "all 4 scores"),
        ([0.1, 0.2, 0.3, 0.4], {"folds": [0, 1]}, "2 folds for 4 pairs"),
        ([0.1, 0.2, 0.3, 0.4], {"dropped": -1}, "-1 dropped"),
        ([0.1, 0.2, 0.3, 0.4], {"rule": "x"}, "no rule"),
        ([0.1, 0.2, 0.3, 0.4], {"fars": (2,)}, "FAR 2 makes no sense"),
    ],
)
def test_no_wrong_number(scores, options, message):
    with pytest.raises(fx.OptionError, match=message):
        verify(scores, [1, 0, 1, 0], **options)


def test_the_order_of_pairs_does_not_matter():
    scores, same = sample()
    order = np.random.default_rng(1).permutation(1000)
    a, b = verify(scores, same), verify(scores[order], same[order])
    assert (a.eer, a.auc, a.threshold, a.tar_at_far) == (b.eer, b.auc, b.threshold, b.tar_at_far)

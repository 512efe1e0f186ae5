import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fggb_jax as fx
import tiny
from fggb_jax.evaluation import evaluate, judgement
from fggb_jax.evaluation.evaluate import run, spread
from fggb_jax.evaluation.judgement import Judge
from fggb_jax.evaluation.method_spec import MethodSpec
from fggb_jax.evaluation.study import Study

PAIRS = np.array([[0, 1], [2, 3], [4, 5]])
SAME = np.array([True, False, True])
METHODS = [MethodSpec.parse(text) for text in ("gradient", "occlusion:size=4")]


def study():
    names = [f"pair {i}" for i in range(len(PAIRS))]
    return Study(tiny.model(), tiny.faces(6), PAIRS, SAME, 0.3, names)


def mass(case, explain):
    """A score of every pair, one of genuine ones alone, and a curve."""
    signed = explain(case.probe, case.gallery).signed
    genuine = float(case.same) if case.same else float("nan")
    return {"mass": np.abs(signed).sum(), "genuine": genuine, "curve": [0.0, 1.0]}


MASS = Judge("mass", "Mass", mass, {"mass": "higher", "genuine": "lower"}, {"curve": ("x", (0, 1))})


def failing(case, explain):
    raise fx.ModelError("no such luck")


FAILING = Judge("failing", "Failing", failing, {"score": "higher"}, {})


def key(record):
    return record["pair"], record["method"], record["judge"]


def test_every_method_is_judged_on_every_pair():
    records = list(run(study(), METHODS, [MASS]))
    assert [key(r) for r in records] == [
        (pair, spec.text, judge)
        for pair in (0, 2, 1)
        for judge in ("runtime", "mass")
        for spec in METHODS
    ]
    first = records[2]["scores"]
    e = fx.explain(tiny.model(), *tiny.faces(2), method="gradient", threshold=0.3)
    assert first["mass"] == pytest.approx(float(e.probe.q.sum()), rel=1e-5)
    assert first["genuine"] == 1
    assert records[10]["scores"]["genuine"] is None  # pair 1, the last one, is an impostor
    assert records[1]["scores"]["forwards"] == 9
    json.dumps(records, allow_nan=False)


def test_what_is_known_is_not_done_again():
    whole = list(run(study(), METHODS, [MASS]))
    for stop in (0, 1, 5, len(whole)):
        rest = list(run(study(), METHODS, [MASS], whole[:stop]))
        assert [key(r) for r in rest] == [key(r) for r in whole[stop:]]
        for a, b in zip(rest, whole[stop:], strict=True):
            if a["judge"] != "runtime":
                assert a == b


def test_an_error_costs_its_own_record_and_is_tried_again():
    records = list(run(study(), METHODS[:1], [FAILING, MASS]))
    errors = [r for r in records if "error" in r]
    assert [(r["judge"], r["error"]) for r in errors] == [("failing", "no such luck")] * 3
    again = list(run(study(), METHODS[:1], [FAILING, MASS], records))
    assert [key(r) for r in again] == [key(r) for r in errors]


def test_a_judge_prepares_what_is_still_to_be_judged_of_a_pair_at_once():
    seen = []

    def prepare(case, explainers):
        seen.append(
            [float(explain(case.probe, case.gallery).signed.sum()) for explain in explainers]
        )

    judge = replace(MASS, prepare=prepare)
    whole = list(run(study(), METHODS, [judge]))
    assert [len(sums) for sums in seen] == [2, 2, 2]
    first = fx.explain(tiny.model(), *tiny.faces(2), method="gradient", threshold=0.3)
    assert seen[0][0] == pytest.approx(float(first.probe.q.sum()), rel=1e-5)
    seen.clear()
    list(run(study(), METHODS, [judge], whole[:7]))  # the first pair, and gradient's of the second
    assert [len(sums) for sums in seen] == [1, 2]


def test_what_cannot_be_prepared_is_judged_map_by_map():
    def fails(case, explainers):
        raise fx.ModelError("no such luck")

    records = list(run(study(), METHODS, [replace(MASS, prepare=fails)]))
    plain = list(run(study(), METHODS, [MASS]))
    assert [r["scores"] for r in records if r["judge"] == "mass"] == [
        r["scores"] for r in plain if r["judge"] == "mass"
    ]


def test_progress_begins_where_the_run_does():
    seen = []
    whole = list(run(study(), METHODS[:1], [MASS]))
    list(run(study(), METHODS[:1], [MASS], whole[:4], progress=lambda *counts: seen.append(counts)))
    assert seen == [(4, 6), (5, 6), (6, 6)]


def test_methods_and_metrics_of_a_command_line():
    specs, judges = evaluate.chosen("fggb, occlusion:size=4", "deletion_insertion", 8)
    assert [spec.text for spec in specs] == ["fggb", "occlusion:size=4"]
    assert dict(specs[1].options) == {"forwards": 8, "size": 4}
    assert [j.name for j in judges] == ["deletion_insertion"]
    every, judges = evaluate.chosen("all", "all", None)
    assert {spec.text for spec in every} == {*fx.methods(), *evaluate.VARIANTS} - {"frequency"}
    assert [j.name for j in judges] == judgement.judges()
    for methods, metrics, message in (
        ("", "all", "no method was given"),
        ("fggb", " ,", "no metric was given"),
        ("fggb,fggb", "all", "method 'fggb' is given twice"),
        ("all,fggb", "all", "method 'fggb' is given twice"),
        ("lrp", "all", "no method 'lrp'"),
        ("fggb,frequency:bands=5", "all", "maps of method 'frequency' are of frequencies, not of"),
        ("fggb", "beauty", "no metric 'beauty'"),
    ):
        with pytest.raises(fx.OptionError, match=message):
            evaluate.chosen(methods, metrics, None)


@given(count=st.integers(0, 300), seen=st.integers(0, 300))
def test_a_run_that_stops_early_has_seen_an_even_sample(count, seen):
    order = spread(count)
    assert sorted(order) == list(range(count))
    first = np.sort(order[:seen])
    if len(first):
        # No gap is longer than twice the mean one of the power of two below, at either end too.
        gaps = np.diff([-1, *first, count])
        assert gaps.max() <= 4 * count / len(first) + 1

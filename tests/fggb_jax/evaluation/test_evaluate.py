import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fggb_jax as fx
import tiny
from fggb_jax.data.pair_list import PairList
from fggb_jax.evaluation import evaluate, judgement
from fggb_jax.evaluation.evaluate import Study, run, spread
from fggb_jax.evaluation.judgement import Judge
from fggb_jax.evaluation.method_spec import MethodSpec

PAIRS = np.array([[0, 1], [2, 3], [4, 5]])
SAME = np.array([True, False, True])
METHODS = [MethodSpec.parse(text) for text in ("gradient", "occlusion:size=4")]


def study(**changes):
    names = [f"pair {i}" for i in range(len(PAIRS))]
    given = {"threshold": 0.3, "names": names, **changes}
    return Study(tiny.model(), tiny.faces(6), PAIRS, SAME, **given)


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
        for spec in METHODS
        for judge in ("runtime", "mass")
    ]
    first = records[1]["scores"]
    e = fx.explain(tiny.model(), *tiny.faces(2), method="gradient", threshold=0.3)
    assert first["mass"] == pytest.approx(float(e.probe.q.sum()), rel=1e-5)
    assert first["genuine"] == 1
    assert records[9]["scores"]["genuine"] is None  # pair 1, the last one, is an impostor
    assert records[2]["scores"]["forwards"] == 9
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


def test_progress_begins_where_the_run_does():
    seen = []
    whole = list(run(study(), METHODS[:1], [MASS]))
    list(run(study(), METHODS[:1], [MASS], whole[:4], progress=lambda *counts: seen.append(counts)))
    assert seen == [(4, 6), (5, 6), (6, 6)]


def test_a_case_is_the_pair_with_strangers_by_the_models_own_measure():
    made = study(threshold=0.5)
    case = made.case(1)
    np.testing.assert_array_equal(case.probe, tiny.faces(6)[2] / np.float32(255))
    assert (case.same, case.others.shape) == (False, (4, *tiny.SIZE, 3))
    others = [int(np.abs(made.faces / 255.0 - o).sum((1, 2, 3)).argmin()) for o in case.others]
    likeness = (made.embeddings @ made.embeddings[[2, 3]].T).max(1)
    assert not {2, 3} & set(others)
    below = [i for i in range(6) if likeness[i] < 0.5]
    assert set(others[: len(below)]) == set(below[:4])
    np.testing.assert_allclose(case.mean_face, tiny.faces(6).mean(0) / 255, atol=1e-6)


@pytest.mark.parametrize("threshold", [-1.0, 0.3, 1.0])
def test_a_pairs_own_faces_are_never_strangers(threshold):
    faces = tiny.faces(3)
    made = Study(tiny.model(), faces, np.array([[0, 2]]), SAME[:1], threshold, ["a pair"])
    np.testing.assert_array_equal(made.case(0).others, faces[1:2] / np.float32(255))
    two = Study(tiny.model(), faces[:2], np.array([[0, 1]]), SAME[:1], threshold, ["a pair"])
    with pytest.raises(fx.OptionError, match="at least 3 faces in all"):
        two.case(0)


def test_no_two_pairs_of_no_two_seeds_draw_alike():
    cases = [study(seed=seed).case(pair) for seed in (0, 1) for pair in (0, 1)]
    drawn = [case.rng("deletion_insertion").integers(1 << 62) for case in cases]
    assert len(set(drawn)) == 4
    assert study().case(1).rng("a").random() == study().case(1).rng("a").random()


def test_records_survive_a_line_that_was_cut_off(tmp_path):
    path = tmp_path / "records.jsonl"
    whole = list(run(study(), METHODS[:1], [MASS]))
    evaluate.write_records(path, iter(whole), [])
    assert evaluate.read_records(path) == whole
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        left = evaluate.read_records(path)
        assert left == whole[: len(left)]
        assert len(left) >= data[:length].count(b"\n")
    left = evaluate.read_records(path)
    assert evaluate.write_records(path, iter(whole[len(left) :]), left) == whole
    assert evaluate.read_records(path) == whole


def test_damage_within_is_an_error_that_names_the_line(tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_text('{"pair": 0}\n{"pa\n{"pair": 1}\n')
    with pytest.raises(fx.OptionError, match="line 2, is damaged"):
        evaluate.read_records(path)
    assert evaluate.read_records(tmp_path / "none") == []


def test_another_run_is_refused_and_its_difference_named(tmp_path):
    run_ = {"seed": 0, "model": "a", "threshold": 0.25}
    assert evaluate.resume(tmp_path, run_) == []
    assert evaluate.resume(tmp_path, run_) == []
    with pytest.raises(fx.OptionError, match="a run with other seed, model: give another --out"):
        evaluate.resume(tmp_path, {**run_, "seed": 1, "model": "b"})


class Image:
    def __init__(self, index):
        self.name, self.index = f"{index}.png", index

    def read(self, note=None):
        return tiny.faces(6)[self.index]


LISTED = PairList([Image(i) for i in range(6)], PAIRS, SAME, source="six faces")


def to_face(photo, name):
    if name == "3.png":
        raise fx.ImageError("no face")
    return photo


def test_a_study_leaves_out_pairs_without_a_face():
    made, errors, source = evaluate.study(tiny.model(), LISTED, to_face, 0.25)
    assert errors == {"3.png": "no face"}
    assert (made.threshold, source) == (0.25, "given")
    assert list(made.names) == ["0.png, 1.png", "4.png, 5.png"]
    np.testing.assert_array_equal(made.faces[made.pairs[1]], tiny.faces(6)[[4, 5]])
    assert made.same.tolist() == [True, True]


def test_thresholds_come_from_the_card_else_from_the_pairs():
    model = tiny.model()
    assert evaluate.study(model, LISTED, lambda x, _: x, "auto")[0].threshold == 0.3
    bare = fx.FaceModel(tiny.network, model.params, fx.Card("bare", tiny.SIZE, layout="HWC"))
    made, _, source = evaluate.study(bare, LISTED, lambda x, _: x, "auto")
    assert "the pairs of this very evaluation" in source
    assert made.cosines.min() < made.threshold < made.cosines.max()


def test_nothing_left_is_an_error():
    def none(photo, name):
        raise fx.ImageError("no face")

    with pytest.raises(fx.ImageError, match="no pair is left"):
        evaluate.study(tiny.model(), LISTED, none, 0.3)


@pytest.mark.parametrize(
    ("limit", "genuine", "impostor"), [(None, 30, 10), (4, 2, 2), (30, 20, 10), (99, 30, 10)]
)
def test_a_limit_takes_as_many_of_either_kind(limit, genuine, impostor):
    same = np.array([True] * 30 + [False] * 10)
    picked = evaluate._picked(same, limit)
    assert picked == sorted(set(picked))
    assert (same[picked].sum(), (~same[picked]).sum()) == (genuine, impostor)


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

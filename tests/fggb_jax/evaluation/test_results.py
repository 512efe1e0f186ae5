import json

import numpy as np
import pytest

import tiny
from fggb_jax.evaluation.curves_figure import draw
from fggb_jax.evaluation.evaluate import run
from fggb_jax.evaluation.judgement import Judge
from fggb_jax.evaluation.method_spec import MethodSpec
from fggb_jax.evaluation.results import write_results
from fggb_jax.evaluation.study import Study
from fggb_jax.report.evaluation_page import Shown, chosen_pairs, render

RUN = {
    "pairs": "six faces",
    "model": "tiny",
    "faces": "aligned faces",
    "threshold_source": "given",
    "forwards": 9,
}


def judged(case, explain):
    signed = explain(case.probe, case.gallery).signed
    return {"peak": float(signed.max()), "curve": [1.0, float(signed.max())]}


JUDGE = Judge(
    *("peak", "Peak", judged, {"peak": "higher"}, {"curve": ("removed, %", (0, 100))}),
    quoted="Others found 0.5.",
)
METHODS = [MethodSpec.parse(text) for text in ("gradient", "occlusion:size=4")]


@pytest.fixture(scope="module")
def study():
    pairs, same = np.array([[0, 1], [2, 3], [4, 5]]), np.array([True, False, True])
    return Study(tiny.model(), tiny.faces(6), pairs, same, 0.3, ["a, <b>", "c, d", "e, f"])


@pytest.fixture(scope="module")
def records(study):
    return list(run(study, METHODS, [JUDGE]))


def test_all_is_written_and_says_the_same(study, records, tmp_path):
    error = {"pair": 0, "method": "gradient", "judge": "peak", "error": "lost"}
    found = write_results(tmp_path, study, METHODS, [JUDGE], [*records, error], RUN)
    names = {"table.json", "table.md", "curves.png", "evaluation.html"}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert json.loads((tmp_path / "table.json").read_text("utf-8")) == found
    assert found["run"] == RUN
    assert found["errors"] == [error]
    assert found["quoted"] == {"peak": "Others found 0.5."}
    for name in ("table.md", "evaluation.html"):
        assert "Others found 0.5." in (tmp_path / name).read_text("utf-8")
    peaks = [r["scores"]["peak"] for r in records if r["judge"] == "peak"]
    own = found["scores"]["peak"]["peak"]["methods"]["gradient"]
    assert own["mean"] == pytest.approx(np.mean(peaks[::2]))
    curve = found["curves"]["peak"]["curve"]
    assert curve["at"] == [0, 100]
    np.testing.assert_allclose(curve["methods"]["gradient"], [1, own["mean"]])
    text = (tmp_path / "table.md").read_text("utf-8")
    assert "- 3 pairs, 2 genuine and 1 impostor: six faces" in text
    assert "| `gradient`         | " in text
    page = (tmp_path / "evaluation.html").read_text("utf-8")
    assert page.count("<figure>") == 6
    assert "a, &lt;b&gt;" in page  # a file's name is no markup
    assert "http" not in page.replace("http-equiv", "")  # it needs no network


def test_best_typical_and_worst_are_by_the_score():
    values = np.array([3, np.nan, 1, 2, 5])
    assert chosen_pairs(values, higher=True) == {"best": 4, "typical": 3, "worst": 2}
    assert chosen_pairs(values, higher=False) == {"best": 2, "typical": 0, "worst": 4}
    assert chosen_pairs(np.array([np.nan]), higher=True) == {}


def test_an_empty_map_is_said_to_be_empty():
    face = np.zeros((4, 4, 3), np.uint8)
    shown = Shown("best", "a, b", face, face, np.zeros((4, 4), np.float32), "0; genuine")
    assert [caption for caption, _ in shown.images] == ["probe", "gallery", "empty map"]
    assert "empty map" in render("t", [], [], None, {"fggb": [shown]}, "a score")


def test_curves_have_a_panel_each_and_baselines_are_grey(records):
    figure = draw(records, [JUDGE], ["gradient", "occlusion:size=4"])
    (ax,) = (ax for ax in figure.axes if ax.lines)
    assert [line.get_label() for line in ax.lines] == ["gradient", "occlusion:size=4"]
    centre = [{**r, "method": "centre"} for r in records if r["method"] == "gradient"]
    figure = draw([*records, *centre], [JUDGE], ["gradient", "centre"])
    colors = [line.get_color() for ax in figure.axes for line in ax.lines]
    assert colors[1] == "#5f656e" != colors[0]


def test_no_curve_no_figure(records):
    bare = Judge("peak", "Peak", judged, {"peak": "higher"}, {})
    assert draw(records, [bare], ["gradient"]) is None

from dataclasses import replace

import numpy as np
import pytest

from fggb_jax.evaluation.judgement import Judge
from fggb_jax.evaluation.map_table import (
    markdown,
    mean_curve,
    runtimes,
    score_matrix,
    summaries,
    tables,
)

JUDGE = Judge("j", "A judge", lambda *_: {}, {"a": "higher", "b": "lower"}, {"c": ("x", (0, 1))})
METHODS = ["fggb", "centre"]


def record(pair, method, judge="j", **scores):
    return {"pair": pair, "method": method, "judge": judge, "scores": scores}


def records(count=20):
    rng = np.random.default_rng(0)
    found = []
    for pair in range(count):
        noise = rng.normal()  # what the pair has of its own
        found.append(record(pair, "fggb", a=noise + 1, b=noise, c=[0, pair]))
        found.append(record(pair, "centre", a=noise, b=noise + rng.normal(), c=[None, 1.0]))
    return found


def test_scores_are_laid_out_by_method_and_pair():
    some = [*records(2), {"pair": 1, "method": "fggb", "judge": "k", "error": "lost"}]
    values = score_matrix(some, "j", "a", METHODS, 3)
    assert values.shape == (2, 3)
    assert np.isnan(values[:, 2]).all()
    assert values[0, 0] == some[0]["scores"]["a"]
    assert np.isnan(score_matrix([record(0, "fggb", a=None)], "j", "a", METHODS, 1)).all()


def test_a_mean_that_beats_the_trivial_one_pair_by_pair_is_said_to():
    """The difference is 1 everywhere; pairs differ by as much."""
    found = summaries(records(), [JUDGE], METHODS, 20)["j"]
    own = found["a"]["fggb"]
    values = score_matrix(records(), "j", "a", METHODS, 20)[0]
    assert (own.mean, own.pairs) == (pytest.approx(values.mean()), 20)
    assert own.low < own.mean < own.high
    assert own.beats_baselines is True
    assert found["a"]["centre"].beats_baselines is False
    assert found["b"]["fggb"].beats_baselines is False


def test_without_baselines_nothing_is_beaten():
    found = summaries(records(), [JUDGE], ["fggb"], 20)["j"]
    assert found["a"]["fggb"].beats_baselines is None


def test_what_no_pair_has_is_left_out():
    assert summaries([record(0, "fggb", a=None)], [JUDGE], METHODS, 1) == {"j": {}}


def test_curves_are_means_over_the_pairs_that_have_them():
    np.testing.assert_allclose(mean_curve(records(3), "j", "c", "fggb"), [0, 1])
    assert mean_curve(records(3), "j", "c", "centre") is None
    assert mean_curve(records(3), "j", "other", "fggb") is None


COST = {"forwards": 2, "backwards": 4, "similarity_empty": 1.0, "dissimilarity_empty": 0.0}


def test_seconds_are_medians_since_the_first_compiles():
    some = [record(i, "fggb", "runtime", seconds=s, **COST) for i, s in enumerate((60, 1, 2))]
    assert runtimes(some, METHODS, 3) == {"fggb": {"seconds": 2, **COST}}


def test_the_tables_say_which_way_is_better_and_who_wins():
    some = [*records(), record(0, "fggb", "runtime", seconds=1.5, **COST)]
    summary, times = summaries(some, [JUDGE], METHODS, 20), runtimes(some, METHODS, 20)
    made = tables(summary, times, [JUDGE], METHODS)
    assert [table.title for table in made] == ["A judge", "Cost of a map"]
    assert made[0].header == ("method", "a ↑", "b ↓")
    assert made[0].rows[0][1].startswith("**")
    assert not made[0].rows[1][1].startswith("**")
    assert made[1].rows == (("`fggb`", "1.50", "2", "4", "100%", "0%"),)
    text = markdown(made)
    assert "## A judge\n\n| method   | a ↑ " in text
    none = tables({"j": {}}, {}, [JUDGE], METHODS)
    assert "No pair can be judged so." in markdown(none)


def test_what_others_published_is_below_its_own_table_alone():
    quoting = replace(JUDGE, quoted="Published: fggb 24.18.")
    summary = summaries(records(), [JUDGE], METHODS, 20)
    text = markdown(tables(summary, {}, [quoting], METHODS))
    assert text.count("Published: fggb 24.18.") == 1
    assert text.index("## A judge") < text.index("Published") < text.index("## Cost of a map")
    assert "Published" not in markdown(tables(summary, {}, [JUDGE], METHODS))


def test_a_mean_of_fewer_pairs_says_so():
    some = [r for r in records() if r["method"] == "centre" or r["pair"] < 5]
    made = tables(summaries(some, [JUDGE], METHODS, 20), {}, [JUDGE], METHODS)
    assert made[0].rows[0][1].endswith(" (n=5)")
    assert "n=" not in made[0].rows[1][1]

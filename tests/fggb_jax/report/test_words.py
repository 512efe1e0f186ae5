import numpy as np
import pytest

from fggb_jax.report import words


def test_no_entry_of_the_provenance_is_left_out(make):
    e = make([(np.eye(4), np.eye(4))] * 2, **{"of tomorrow": {"a": [1, 2], "b": None}})
    rows = dict(words.provenance(e))
    assert rows["of tomorrow: a"] == "1, 2"
    assert rows["of tomorrow: b"] == "not stated"
    assert rows["model SHA-256"] == e.provenance["model_sha256"]
    assert rows["card: licence"] == "CC0-1.0"
    assert rows["cosine"] == "0.5"
    assert len(rows) == len(words.provenance(e)) == 3 + 5 + 2 + len(e.provenance["card"])


def test_a_note_says_how_much_is_particular_to_the_pair(make):
    q = np.ones((4, 4))
    p = 0.5 * q + np.where(np.arange(4) < 2, 0.025, -0.025)
    (note,) = words.notes(make([(p, q), (p, q)], cosine=0.5, threshold=0.25))
    assert "has 10.0 % (probe) and 10.0 % (gallery) of S’s mass" in note


def test_a_note_counts_pixels_without_a_value(make):
    p = np.where(np.eye(4) > 0, np.nan, 1.0)
    notes = words.notes(make([(p, np.eye(4)), (p, np.eye(4))], options={"gradient": "signed"}))
    assert "plain gradient" in notes[0]
    assert notes[1].startswith("8 pixels")


def test_an_estimate_is_said_to_be_one(make):
    maps = [(np.eye(4), np.eye(4))] * 2
    given = {"gradient": "signed", "norms": [float(i) for i in range(1, 24)]}
    about = {"estimate": "norms of channels as given; 2 products", "vjps_per_image": 2}
    e = make(maps, options=given, norms_source="given", **about)
    assert words.notes(e)[1].startswith("Estimated: norms of channels as given; 2 products.")
    assert words.options(e) == "fggb (gradient=signed, norms=23 numbers from 1 to 23)"
    rows = words.provenance(e)
    assert ("estimate", about["estimate"]) in rows
    assert ("options: norms", "23 numbers from 1 to 23") in rows
    exact = make(maps, options={"gradient": "signed", "norms": "exact"})
    assert not any("Estimated" in note for note in words.notes(exact))


def test_an_option_that_says_nothing_is_left_out(make):
    maps = [(np.eye(4), np.eye(4))] * 2
    e = make(maps, method="gradcam", options={"node": None, "part": "both", "bias": 0})
    assert words.options(e) == "gradcam (part=both, bias=0)"
    assert words.options(make(maps, method="gradcam", options={"node": None})) == "gradcam"
    assert ("options: node", "not stated") in words.provenance(e)


def test_a_map_of_frequencies_is_said_to_be_one(make):
    maps = [(np.eye(4), np.eye(4))] * 2
    assert "DC" in words.notes(make(maps, plane="frequencies", options={}))[0]
    assert not any("frequencies" in note for note in words.notes(make(maps, options={})))


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0 %"), (1e-9, "< 0.1 %"), (0.105, "10.5 %"), (0.99999, "> 99.9 %"), (1.0, "100 %")],
)
def test_a_percentage_is_round_only_where_it_is_exact(share, text):
    assert words.percent(share) == text


@pytest.mark.parametrize(
    ("value", "text"), [(22.7156, "22.7"), (-5.4909, "−5.49"), (950.4, "950"), (0, "0")]
)
def test_numbers_have_three_digits_and_a_true_minus(value, text):
    assert words.significant(value) == text

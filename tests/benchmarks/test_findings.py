"""The scores of every pair that are kept of an evaluation, and go on from there."""

import json
from importlib import import_module

import pytest

import fggb_jax as fx

LIST = "probe,gallery,same\na.png,b.png,1\nc.png,d.png,0\n"


def record(pair, method, judge, **scores):
    return {"pair": pair, "method": method, "judge": judge, "scores": scores}


def begin(findings, folder, settings):
    folder.mkdir()
    assert findings.resume(folder, settings) == []


@pytest.fixture
def findings(tmp_path, monkeypatch):
    """The script, which keeps scores elsewhere."""
    script = import_module("findings")
    monkeypatch.setattr(script, "SCORES", tmp_path / "kept")
    (tmp_path / "pairs.csv").write_text(LIST, "utf-8")
    for name in "abcd":
        (tmp_path / f"{name}.png").touch()
    monkeypatch.setattr(script, "pair_list", lambda: tmp_path / "pairs.csv")
    return script


@pytest.fixture
def settings(findings):
    """What a run depends on."""
    listed = findings.read_pairs(findings.pair_list())
    names = [listed.name(pair) for pair in range(2)]
    return {"threshold": 0.3, "names": names, "pairs": listed.source}


@pytest.fixture
def run(findings, settings, tmp_path):
    """A folder of a run."""
    folder = tmp_path / "run"
    begin(findings, folder, settings)
    records = [
        record(0, "centre", "runtime", seconds=0.123456789, forwards=0.0),
        record(0, "centre", "ground_truth", similarity_auprc=0.98765432, similarity_mass=None),
        record(0, "centre", "deletion_insertion", deletion_black=5.0, deletion_black_curve=[1, 0]),
        record(0, "lime", "ground_truth", similarity_auprc=0.5),
        record(0, "centre", "stability", noise=0.5),
        {"pair": 1, "method": "centre", "judge": "ground_truth", "error": "no such luck"},
    ]
    text = "".join(json.dumps(r) + "\n" for r in records)
    (folder / "records.jsonl").write_text(text, "utf-8")
    return folder


def test_what_is_kept_of_a_run(findings, settings, run):
    """The scores of the findings' methods and judges, to five digits; no curve, no path."""
    findings.keep(run, "any")
    assert findings.kept("any") == {
        "run": {"threshold": 0.3, "names": settings["names"]},
        "late": [True, True],
        "records": [
            record(0, "centre", "runtime", seconds=0.12346, forwards=0.0),
            record(0, "centre", "ground_truth", similarity_auprc=0.98765, similarity_mass=None),
            record(0, "centre", "deletion_insertion", deletion_black=5.0),
        ],
    }


def test_an_empty_folder_goes_on_from_what_is_kept(findings, settings, run, tmp_path):
    """By the evaluation's own rules: as the same run, and as no other."""
    findings.keep(run, "any")
    findings.go_on(tmp_path / "new", "any")
    assert findings.resume(tmp_path / "new", settings) == findings.kept("any")["records"]
    with pytest.raises(fx.OptionError, match="has a run with other threshold"):
        findings.resume(tmp_path / "new", {**settings, "threshold": 0.4})
    before = (run / "records.jsonl").read_bytes()
    findings.go_on(run, "any")
    assert (run / "records.jsonl").read_bytes() == before
    findings.go_on(tmp_path / "other", "other")
    assert not (tmp_path / "other").exists()


def test_what_is_kept_only_grows(findings, settings, run, tmp_path):
    findings.keep(run, "any")
    begin(findings, tmp_path / "new", settings)
    more = record(1, "centre", "ground_truth", similarity_auprc=0.25)
    (tmp_path / "new" / "records.jsonl").write_text(json.dumps(more) + "\n", "utf-8")
    before = findings.kept("any")["records"]
    findings.keep(tmp_path / "new", "any")
    assert findings.kept("any")["records"] == [*before, more]

    begin(findings, tmp_path / "less", {**settings, "names": settings["names"][:1]})
    (tmp_path / "less" / "records.jsonl").write_text("", "utf-8")
    with pytest.raises(SystemExit, match="the scores of another run"):
        findings.keep(tmp_path / "less", "any")

import pytest

import fggb_jax as fx
from fggb_jax.evaluation.records import read_records, resume, write_records

WHOLE = [
    {
        "pair": pair,
        "method": "fggb",
        "judge": judge,
        "scores": {"über\u2028all": pair / 3, "none": None},
    }
    for pair in (0, 2, 1)
    for judge in ("runtime", "mass")
]


def test_records_survive_a_line_that_was_cut_off(tmp_path):
    path = tmp_path / "records.jsonl"
    write_records(path, iter(WHOLE), [])
    assert read_records(path) == WHOLE
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        left = read_records(path)
        assert left == WHOLE[: len(left)]
        assert len(left) >= data[:length].count(b"\n")
    left = read_records(path)
    assert write_records(path, iter(WHOLE[len(left) :]), left) == WHOLE
    assert read_records(path) == WHOLE


def test_damage_within_is_an_error_that_names_the_line(tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_text('{"pair": 0}\n{"pa\n{"pair": 1}\n')
    with pytest.raises(fx.OptionError, match="line 2, is damaged"):
        read_records(path)
    assert read_records(tmp_path / "none") == []


def test_another_run_is_refused_and_its_difference_named(tmp_path):
    run_ = {"seed": 0, "model": "a", "threshold": 0.25}
    assert resume(tmp_path, run_) == []
    assert resume(tmp_path, run_) == []
    with pytest.raises(fx.OptionError, match="a run with other seed, model: give another --out"):
        resume(tmp_path, {**run_, "seed": 1, "model": "b"})

import json

import onnx
import pytest

import networks
import onnx2jax
from onnx2jax import cli


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "face.onnx"
    onnx.save(networks.iresnet((1, 1, 1, 1), width=8, dimension=16), path)
    return str(path)


def run(*arguments):
    with pytest.raises(SystemExit) as exit_:
        cli.main(list(arguments))
    return exit_.value.code


def test_inspect_counts(path, capsys):
    assert run("inspect", path, "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["inputs"] == {"input": "float32['batch', 3, 112, 112]"}
    assert shown["operators"]["PRelu"] == 5
    assert shown["stages"] == 5


def test_check_says_there_is_no_divergence(path, capsys):
    assert run("check", path) == 0
    assert "no divergence" in capsys.readouterr().out


def test_ops_lists_versions(capsys):
    assert run("ops", "--json") == 0
    assert json.loads(capsys.readouterr().out)["Clip"] == [1, 11]


def test_errors_are_one_line(tmp_path, capsys):
    assert run("inspect", str(tmp_path / "none.onnx")) == 1
    assert capsys.readouterr().err.startswith("error: no such file")
    assert run("nonsense") == 2


def test_convert_writes_what_loads_again(path, tmp_path, capsys):
    directory = tmp_path / "face"
    assert run("convert", path, str(directory), "--stablehlo", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert set(shown["bytes"]) >= {"graph.json", "weights.safetensors", "model.stablehlo"}
    assert onnx2jax.load(directory).inputs == onnx2jax.load(path).inputs


def test_the_table_of_operators_is_markdown(capsys):
    assert run("ops", "--markdown") == 0
    assert "| ai.onnx | Clip | 1, 11 |" in capsys.readouterr().out


def test_a_place_that_cannot_be_written_is_one_line(path, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run("convert", path, str(tmp_path / "file" / "face")) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "cannot be written" in error
    assert error.count("\n") == 1

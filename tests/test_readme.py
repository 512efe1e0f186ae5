"""What the README says is true: its Python runs, its map of the house exists."""

import importlib
import json
import re
from pathlib import Path

import pytest

import fggb_jax as fx

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def python_blocks():
    return re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_first_examples_run(dlib_proto, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(python_blocks()[0], names)
    assert capsys.readouterr().out.startswith("0.813")
    assert {p.name for p in tmp_path.iterdir()} == {"pair.html", "pair.png", "pair.npz"}
    exec(python_blocks()[1], names)
    genuine, impostor, probe = capsys.readouterr().out.splitlines()
    assert genuine.startswith("0.967")
    assert genuine.endswith("accept")
    assert impostor.startswith("0.813")
    assert impostor.endswith("reject")
    assert probe == "[ True False] (150, 150)"


def test_a_flax_model_of_ones_own_is_explained():
    names = {}
    exec(python_blocks()[2], names)
    assert names["e"].probe.signed.shape == (112, 112)


def test_the_map_of_the_house_exists():
    tree = re.search(r"## The house\n\n```\n(.*?)```", README, re.DOTALL).group(1)
    folders = []
    for line in tree.splitlines():
        depth = (len(line) - len(line.lstrip())) // 4
        name = line.split()[0]
        folders[depth:] = [name]
        assert (ROOT / "/".join(folders)).exists(), name


@pytest.mark.parametrize("link", re.findall(r"\]\(((?!http)[^)#]+)\)", README))
def test_links_lead_somewhere(link):
    assert (ROOT / link).exists()


FIGURES = ("photographs", "fewer_passes", "operators", "conformance")
DOCUMENTS = ["README.md", *(f"docs/{name}.md" for name in FIGURES)]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_figures_are_those_of_the_results(name, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    readme = importlib.import_module("readme")
    document = (ROOT / name).read_text("utf-8")
    assert readme.MARKS[0] in document
    assert readme.updated(document, readme.DOCUMENTS[name]()) == document


def test_the_cards_norms_are_those_of_the_results():
    rows = json.loads((ROOT / "benchmarks" / "results" / "norms.json").read_text("utf-8"))["rows"]
    cards = fx.cards()
    assert {r["model"] for r in rows} == {name for name, card in cards.items() if card.norms}
    for row in rows:
        card = cards[row["model"]]
        assert (list(card.norms), card.norms_source) == (row["norms"], row["norms_source"])

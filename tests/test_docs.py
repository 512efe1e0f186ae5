"""What docs/ says of methods and judges is true of the registries, and links lead somewhere."""

import ast
import re
from pathlib import Path

import pytest

import fggb_jax as fx
from fggb_jax.attribution import registry
from fggb_jax.evaluation import evaluate, judgement

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), *(DOCS / "methods").glob("*.md")])
LARGEST = 40_000  # bytes of a picture


def cells(text):
    """The rows of a page's tables."""
    rows = (line for line in text.splitlines() if line.startswith("|"))
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def value(text):
    """A default as a table has it, in backticks; 1 / 255 is no literal."""
    above, _, below = text.strip("`").partition(" / ")
    return ast.literal_eval(above) / ast.literal_eval(below) if below else ast.literal_eval(above)


def anchors(text):
    """The ids of a page's headings."""
    titles = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", title).lower()) for title in titles}


@pytest.mark.parametrize("name", fx.methods())
def test_a_methods_page_names_its_options_and_shows_its_picture(name):
    text = (DOCS / "methods" / f"{name}.md").read_text("utf-8")
    rows = {row[0].strip("`"): row[1] for row in cells(text) if row[0].startswith("`")}
    assert {n: value(default) for n, default in rows.items()} == registry.find(name).options
    assert f"(../images/methods/{name}.png)" in text
    assert (DOCS / "images" / "methods" / f"{name}.png").stat().st_size <= LARGEST


def test_the_table_of_methods_has_all_of_them_as_they_are():
    text = (DOCS / "methods" / "index.md").read_text("utf-8")
    rows = {row[0]: row for row in cells(text) if row[0].startswith("[")}
    assert set(rows) == {f"[{name}]({name}.md)" for name in fx.methods()}
    for name in fx.methods():
        found, (_, _, _, _, signed, gradients, threshold) = (
            registry.find(name),
            rows[f"[{name}]({name}.md)"],
        )
        assert (signed == "yes", gradients == "yes") == (found.signed, found.gradients), name
        assert (threshold == "its own alone") != found.movable, name


def test_every_page_of_a_method_is_of_one():
    pages = {path.stem for path in (DOCS / "methods").glob("*.md")} - {"index"}
    pictures = {path.stem for path in (DOCS / "images" / "methods").glob("*")}
    assert pages == pictures == set(fx.methods())


def test_every_judge_and_its_scores_are_explained():
    text = (DOCS / "evaluation.md").read_text("utf-8")
    named = re.findall(r"^### (\w+)$", text, re.MULTILINE)
    of_removal = [name for name in named if name.endswith("deletion_insertion")]
    assert "With `_blur` or `_mean_face` behind its name" in text
    filled = [f"{name}_{fill}" for name in of_removal for fill in ("blur", "mean_face")]
    assert {*named, *filled} == set(judgement.judges())


def test_the_methods_of_the_examples_exist():
    text = (DOCS / "evaluation.md").read_text("utf-8")
    listed = re.findall(r"(?:--methods |^    )((?:\w[\w:=]*,)+\w+) *\\?$", text, re.MULTILINE)
    assert len(listed) == 2
    for methods in listed:
        evaluate.chosen(methods, "all", forwards=64)


def test_all_pages_are_in_the_navigation():
    listed = set(re.findall(r"[\w/]+\.md", (ROOT / "mkdocs.yml").read_text("utf-8")))
    assert listed == {path.relative_to(DOCS).as_posix() for path in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(DOCS).as_posix())
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(((?!https?:)[^)\s]+)\)", page.read_text("utf-8")):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.is_file(), link
        if anchor:
            assert anchor in anchors(target.read_text("utf-8")), link

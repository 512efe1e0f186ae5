import numpy as np
import pytest
from PIL import Image

import fggb_jax as fx
from fggb_jax.data.lfw import read_lfw
from fggb_jax.data.pairs_csv import read_csv


def lines(folds, count):
    for fold in range(folds):
        for i in range(count):
            yield f"Al_Gore\t{i + 1}\t{i + 2}"
        for i in range(count):
            yield f"Al_Gore\t{i + 1}\tBo_Derek\t{fold + 1}"


@pytest.fixture
def write(tmp_path):
    """A list of pairs with one image in a folder beside it."""

    def write(text, folder="images", ending=".jpg"):
        path = tmp_path / "pairs.txt"
        path.write_text(text)
        person = tmp_path / folder / "Al_Gore"
        person.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (5, 4)).save(person / f"Al_Gore_0001{ending}")
        return path

    return write


def test_ten_folds_as_in_view_2(write):
    pairs = read_lfw(write("10\t3\n" + "\n".join(lines(10, 3))))
    assert len(pairs) == 60
    assert pairs.folds.tolist() == np.repeat(np.arange(10), 6).tolist()
    assert pairs.same.reshape(10, 2, 3).all(2).tolist() == [[True, False]] * 10
    assert pairs.name(0) == "Al_Gore/Al_Gore_0001.jpg, Al_Gore/Al_Gore_0002.jpg"
    assert pairs.name(59) == "Al_Gore/Al_Gore_0003.jpg, Bo_Derek/Bo_Derek_0010.jpg"
    assert pairs.images[0].read().shape == (4, 5, 3)


@pytest.mark.parametrize("text", ["2\n", "\ufeff2\n", "2 \r\n"])
def test_one_set_as_in_view_1(write, text):
    text += "\n".join(lines(1, 2)) + "\n\n"
    pairs = read_lfw(write(text))
    assert (len(pairs), pairs.folds) == (4, None)


def test_spaces_serve_as_tabs(write):
    assert len(read_lfw(write("1\nAl_Gore 1 2\nAl_Gore 1 Bo_Derek 1\n"))) == 2


@pytest.mark.parametrize("folder", ["images", "lfw", "lfw-deepfunneled", "lfw_funneled", "."])
def test_images_are_looked_for_beside_the_list(write, folder):
    assert read_lfw(write("1\n" + "\n".join(lines(1, 1)), folder)).images[0].exists()


def test_images_elsewhere_and_of_another_ending(write, tmp_path):
    path = write("1\n" + "\n".join(lines(1, 1)), "far/away", ".png")
    with pytest.raises(fx.FggbError, match=r"none of its 3 images, such as .*images_root"):
        read_lfw(path)
    assert read_lfw(path, tmp_path / "far" / "away").images[0].name == "Al_Gore/Al_Gore_0001.png"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: '' is no count of pairs"),
        ("ten\nA 1 2\n", "line 1: 'ten' is no count"),
        ("0\n", "announces no pairs"),
        ("2\nA\t1\t2\nA\t1\tB\t2\n", r"2 pairs; its first line announces 4: 1 × \(2 genuine"),
        ("1\nA\t1\t2\nA\t1\t3\n", "fold 1 has 2 genuine pairs; its first line announces 1"),
        ("1\nA\t1\t2\nA\t1\n", r"pairs\.txt, line 3: 'A 1' has 2 values"),
        ("1\nA\t1\ttwo\nA\t1\tB\t1\n", "line 2: 'two' is no number of an image"),
        ("1\nA\t1\t-2\nA\t1\tB\t1\n", "line 2: '-2' is no number"),
        ("1\n../A\t1\t2\nA\t1\tB\t1\n", r"line 2: '\.\./A' is no name"),
        ("1\n..\t1\t2\nA\t1\tB\t1\n", r"line 2: '\.\.' is no name"),
    ],
)
def test_errors_name_the_line_and_the_value(write, text, message):
    with pytest.raises(fx.FggbError, match=message):
        read_lfw(write(text))


def test_view_1_has_its_known_counts_in_both_forms(shared):
    official = read_lfw(shared / "lfw" / "pairsDevTest.txt")
    table = read_csv(shared / "lfw" / "pairs.csv")
    for pairs in (official, table):
        assert (len(pairs), pairs.same.sum(), len(pairs.images)) == (1000, 500, 1549)
        assert all(image.exists() for image in pairs.images)

    def content(pairs):
        names = [image.name.removeprefix("images/") for image in pairs.images]
        rows = zip(pairs.pairs, pairs.same, strict=True)
        return {(names[a], names[b], bool(same)) for (a, b), same in rows}

    assert content(official) == content(table)
    assert official.images[0].read().shape == (250, 250, 3)

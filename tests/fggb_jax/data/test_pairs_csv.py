import numpy as np
import pytest
from PIL import Image

import fggb_jax as fx
from fggb_jax.data.pairs_csv import read_csv


@pytest.fixture
def write(tmp_path):
    """A CSV file beside images a.png … d.png and "e, f.png"."""
    for value, name in enumerate(("a.png", "b.png", "c.png", "d.png", "e, f.png")):
        Image.new("RGB", (4, 3), (value, 0, 0)).save(tmp_path / name)

    def write(content):
        path = tmp_path / "pairs.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_images_are_read_only_when_asked_for(write):
    pairs = read_csv(write("probe,gallery,same\na.png,b.png,1\nc.png,a.png,0\n"))
    assert [image.name for image in pairs.images] == ["a.png", "b.png", "c.png"]
    assert pairs.pairs.tolist() == [[0, 1], [2, 0]]
    assert pairs.same is not None
    assert pairs.same.tolist() == [True, False]
    assert pairs.folds is None
    pixels = pairs.images[2].read()
    assert (pixels.shape, pixels.dtype, pixels[0, 0, 0]) == ((3, 4, 3), np.uint8, 2)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfprobe,gallery,same\r\na.png,b.png,1\r\n",
        b"\nprobe,gallery,same\n\n,,\na.png,b.png,1\n\n",
        b"same,note,gallery,probe\n1,x,b.png,a.png\n",
        b"Probe, Gallery ,SAME\n a.png , b.png , 1 \n",
        b"probe,gallery,same\n./a.png,b.png,1,,\n",
        b"probe,gallery,same\na.png,b.png,1",
    ],
    ids=["BOM and CRLF", "blank lines", "columns", "spaces", "commas too many", "no last newline"],
)
def test_forms_that_editors_write(write, content):
    pairs = read_csv(write(content))
    assert [image.name for image in pairs.images] == ["a.png", "b.png"]
    assert (pairs.pairs.tolist(), pairs.same.tolist()) == ([[0, 1]], [True])


def test_quoted_commas_belong_to_a_path(write):
    pairs = read_csv(write('probe,gallery\n"e, f.png",a.png\n'))
    assert pairs.images[0].name == "e, f.png"
    assert pairs.images[0].read()[0, 0, 0] == 4
    assert pairs.same is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"pairs\.csv, line 1: no column 'probe' in the header ''"),
        ("probe,galery\na.png,b.png\n", r"line 1: no column 'gallery' in the header 'probe,gal"),
        ("probe;gallery\na.png;b.png\n", r"line 1: no column 'probe' in .*'probe;gallery'"),
        ("probe,gallery,probe\n", r"line 1: the column 'probe' is there 2 times"),
        ("probe,gallery,same\n", r"no pairs below the header"),
        ("probe,gallery,same\na.png,b.png,1\n\na.png,b.png,yes\n", r"line 4: same is 'yes'"),
        ("probe,gallery,same\na.png,b.png,\n", r"line 2: same is ''"),
        ("probe,gallery,same\na.png,,1\n", r"line 2: the path under 'gallery' is empty"),
        ("probe,gallery,same\na.png,b.png\n", r"line 2: 2 values under 3 columns: 'a\.png,b\.png'"),
        ("probe,gallery\na.png,e, f.png\n", r"line 2: 3 values under 2 columns.*quote"),
        ('probe,gallery\na.png,"b.png\n', r"line 2: .*are all quotes closed"),
        (b"probe,gallery\na.png,b.png\na.png,\xff.png\n", r"line 3: byte .*xff.* is not UTF-8"),
        ("probe,gallery\nx/a.png,x/b.png\n", r"none of its 2 images is there; .*x/a\.png"),
    ],
)
def test_errors_name_the_file_the_line_and_the_value(write, content, message):
    with pytest.raises(fx.FggbError, match=message) as caught:
        read_csv(write(content))
    assert "pairs.csv" in str(caught.value)


def test_missing_images_are_for_later_unless_all_are(write):
    pairs = read_csv(write("probe,gallery\na.png,none.png\n"))
    with pytest.raises(fx.ImageError, match=r"no such image: .*none\.png"):
        pairs.images[1].read()


def test_another_folder_of_images(write, tmp_path):
    path = write("probe,gallery\na.png,b.png\n")
    (tmp_path / "lists").mkdir()
    moved = path.rename(tmp_path / "lists" / "pairs.csv")
    assert read_csv(moved, tmp_path).images[0].exists()


def test_the_photographs_beside_the_project(shared):
    pairs = read_csv(shared / "photos" / "pairs.csv")
    assert (len(pairs), len(pairs.images), pairs.same.sum()) == (28, 13, 14)
    assert all(image.exists() for image in pairs.images)

import io
import pickle

import pytest
from PIL import Image

import fggb_jax as fx
from fggb_jax.data.pairs import read_pairs


@pytest.fixture
def folder(tmp_path):
    """Every kind of list over the same three images."""
    root = tmp_path / "images"
    for person, number in (("A", 1), ("A", 2), ("B", 1)):
        (root / person).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (number, 0, 0)).save(root / person / f"{person}_{number:04d}.jpg")
    (tmp_path / "pairs.csv").write_text(
        "probe,gallery,same\nimages/A/A_0001.jpg,images/A/A_0002.jpg,1\n"
        "images/A/A_0001.jpg,images/B/B_0001.jpg,0\n"
    )
    (tmp_path / "list.txt").write_text("1\nA\t1\t2\nA\t1\tB\t1\n")
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "png")
    for name in ("set.bin", "set"):
        (tmp_path / name).write_bytes(pickle.dumps(([buffer.getvalue()] * 4, [True, False])))
    return tmp_path


@pytest.mark.parametrize("name", ["pairs.csv", "list.txt", "set.bin", "set", "images"])
def test_the_kind_is_told_from_the_content(folder, name):
    pairs = read_pairs(folder / name)
    assert pairs.pairs.shape == (2, 2)
    assert pairs.same.tolist() == [True, False]
    assert all(image.read().shape == (4, 4, 3) for image in pairs.images)
    assert str(folder / name) in pairs.source


def test_a_text_path_and_a_root(folder):
    assert len(read_pairs(str(folder / "list.txt"), str(folder / "images"))) == 2
    with pytest.raises(fx.FggbError, match="no such folder of images"):
        read_pairs(folder / "list.txt", folder / "nowhere")
    with pytest.raises(fx.OptionError, match="brings its own images"):
        read_pairs(folder / "set.bin", folder / "images")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file or folder of pairs"),
        (b"", "no column 'probe'"),
        (b"\xff\xd8\xff\xe0 a jpeg", "is not UTF-8"),
        (b"probe,gallery\n" + b"x" * 200_000 + b",b\n", "field larger than field limit"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    path = tmp_path / "pairs.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(fx.FggbError, match=message):
        read_pairs(path)

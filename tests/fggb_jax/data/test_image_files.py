import pytest

import fggb_jax as fx
from fggb_jax.data.image_files import image_files


def test_files_as_given_and_folders_in_order(tmp_path):
    for name in ("b/2.jpg", "b/1.PNG", "b/deep/0.webp", "b/notes.txt", "odd.name"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = image_files([tmp_path / "odd.name", str(tmp_path / "b")])
    names = [str(p.relative_to(tmp_path)) for p in found]
    assert names == ["odd.name", "b/1.PNG", "b/2.jpg", "b/deep/0.webp"]


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(fx.ImageError, match=r"no such image or folder: .*gone\.jpg"):
        image_files([tmp_path / "gone.jpg"])
    with pytest.raises(fx.ImageError, match=r"holds no image \(\.jpg, "):
        image_files([tmp_path])

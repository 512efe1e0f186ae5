import numpy as np
import pytest

import fggb_jax as fx
from fggb_jax.data.pair_list import ImageFile, PairList, index


def test_each_image_is_listed_once_in_the_order_of_its_first_use():
    names, pairs = index([("b", "a"), ("a", "c"), ("b", "a")])
    assert names == ["b", "a", "c"]
    assert pairs.tolist() == [[0, 1], [1, 2], [0, 1]]
    assert index([])[1].shape == (0, 2)


def test_a_pair_has_a_name(tmp_path):
    images = [ImageFile(name, tmp_path / name) for name in ("a.jpg", "b.jpg")]
    pairs = PairList(images, np.array([[1, 0]]))
    assert (len(pairs), pairs.name(0)) == (1, "b.jpg, a.jpg")


@pytest.mark.parametrize("name", ["none.png", "n" * 5000, "a\0b"])
def test_a_missing_image_is_named_when_it_is_read(tmp_path, name):
    image = ImageFile(name, tmp_path / name)
    assert not image.exists()
    with pytest.raises(fx.ImageError, match="no such image"):
        image.read()

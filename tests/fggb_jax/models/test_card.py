import dataclasses
import re

import numpy as np
import pytest

import fggb_jax as fx
from fggb_jax.models.card import Card


def test_preprocessing_by_hand():
    """A pixel (1, 0.5, 0) as BGR, range 255, mean 10, std 5, channels first."""
    card = Card("c", (1, 1), color="BGR", range=255.0, mean=(10.0,) * 3, std=(5.0,) * 3)
    x = card.preprocess(np.float32([[[1, 0.5, 0]]]))
    assert x.shape == (3, 1, 1)
    np.testing.assert_allclose(np.ravel(x), [-2, 23.5, 49], rtol=1e-6)


def test_layout_channels_last():
    image = np.random.default_rng(0).random((4, 6, 3), dtype=np.float32)
    np.testing.assert_array_equal(Card("c", (4, 6), layout="HWC").preprocess(image), image)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("color", "GBR", "color is 'GBR'; choose one of RGB, BGR"),
        ("layout", "NCHW", "layout is 'NCHW'; choose one of CHW, HWC"),
        ("size", (0, 4), r"size is \(0, 4\); give \(height, width\)"),
        ("std", (1.0, 0.0, 1.0), r"std \(1\.0, 0\.0, 1\.0\).*must not be 0"),
        ("mean", (1.0,), r"mean is \(1\.0,\); give three numbers"),
        ("norms", (1.0, 0.0), "card 'c': norms must be positive, finite numbers, one for each"),
        ("norms", (), "norms must be positive"),
        ("norms", (1.0, "2"), "norms must be positive"),
        ("norms", (float("inf"),), "norms must be positive"),
    ],
)
def test_nonsense_is_refused(field, value, message):
    with pytest.raises(fx.ModelError, match=message):
        dataclasses.replace(Card("c", (4, 4)), **{field: value})


def test_norms_are_as_many_as_channels():
    assert Card("c", (4, 4), dimension=2, norms=(1.0, 2)).norms == (1.0, 2)
    with pytest.raises(fx.ModelError, match="card 'c': norms are 1 numbers for 2 channels"):
        Card("c", (4, 4), dimension=2, norms=(1.0,))


def test_another_size_is_refused():
    with pytest.raises(fx.ImageError, match=r"\(5, 4, 3\) was given to 'c'.*\(4, 4, 3\)"):
        Card("c", (4, 4)).preprocess(np.zeros((5, 4, 3), np.float32))


def test_toml_round_trip(tmp_path):
    path = tmp_path / "face.toml"
    path.write_text('name = "mine"\nsize = [112, 96]\nmean = [0.5, 0.5, 0.5]\nthreshold = 0.3\n')
    card = Card.from_toml(path)
    assert (card.name, card.size, card.mean, card.threshold) == ("mine", (112, 96), (0.5,) * 3, 0.3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "cannot be read as a card"),
        ('name = "m"\nsize = [1, 1]\nmeen = 1', r"unknown entries \['meen'\]"),
        ('name = "m"', r"the card lacks \['size'\]"),
        ('name = "m"\nsize = 112', "size is 112; give"),
        ('name = "m"\nsize = [1, 1]\nrange = "all"', "an entry has a wrong type"),
    ],
)
def test_broken_toml_is_refused(tmp_path, text, message):
    path = tmp_path / "face.toml"
    path.write_text(text)
    with pytest.raises(fx.ModelError, match=message):
        Card.from_toml(path)


MEASURED = {"dlib-resnet-v1", "mobilefacenet", "sface"}
WITHOUT_SHA256 = {"magface-iresnet100"}  # no ONNX file of it is published


def test_shipped_cards_are_whole():
    assert fx.cards().keys() >= MEASURED
    for name, card in fx.cards().items():
        assert card.name == name
        assert "unknown" not in (card.licence, card.source)
        assert card.template in ("dlib-150", "arcface-112")
        assert (card.sha256 is None) == (name in WITHOUT_SHA256)
        assert card.sha256 is None or re.fullmatch("[0-9a-f]{64}", card.sha256)
        if name in MEASURED:
            assert -1 < card.threshold < 1
            assert len(card.threshold_source) > 40
            assert card.dimension == len(card.norms) == 128
            assert "measured by `python benchmarks/norms.py`" in card.norms_source
        else:
            assert card.threshold is None
            assert card.threshold_source.startswith("none published")
            assert card.dimension == 512

"""Thresholds measured here: kept, found again, and used for these weights alone."""

import dataclasses
import tomllib

import onnx
import pytest

import fggb_jax as fx
import networks
from fggb_jax.models import calibration, user_cards

pytestmark = pytest.mark.usefixtures("surroundings")

SHA256 = "0f" * 32


def keep(sha256=SHA256, threshold=0.1 + 0.2):
    return calibration.store(
        sha256, threshold, "Equal error rate", model="mine", detector='faces by "ö"'
    )


def test_stored_and_read_again(tmp_path):
    assert calibration.stored(SHA256) is None
    assert calibration.stored(None) is None
    path = keep()
    assert path == calibration.file_of(SHA256) == tmp_path / "cards" / "thresholds" / path.name
    found = calibration.stored(SHA256)
    assert (found.model, found.detector, found.threshold) == ("mine", 'faces by "ö"', 0.1 + 0.2)
    assert found.threshold_source == (
        f'Equal error rate; faces by "ö"; calibrated by `fggb verify` on {found.date}'
    )
    assert dataclasses.asdict(found) == tomllib.loads(path.read_text("utf-8"))
    keep(threshold=-0.5)
    assert calibration.stored(SHA256).threshold == -0.5
    assert list(path.parent.iterdir()) == [path]


def test_a_loaded_model_has_the_stored_threshold(mine):
    user_cards.add(mine)
    before = fx.load_model(mine)
    keep(before.sha256, 0.25)
    for model in (mine, str(mine), "mine", onnx.load(mine)):
        loaded = fx.load_model(model)
        assert loaded.card.threshold == 0.25
        assert loaded.card.threshold_source == calibration.stored(before.sha256).threshold_source
    changed = {"threshold": 0.3, "threshold_source": ""}
    assert dataclasses.replace(fx.load_model(mine).card, **changed) == before.card


def test_dlibs_own_file_too(dlib_proto):
    sha256 = fx.cards()["dlib-resnet-v1"].sha256
    keep(sha256, 0.75)
    assert fx.load_model().card.threshold == 0.75


def test_a_card_that_is_given_wins(mine):
    card = fx.Card("given", (112, 112), threshold=0.7)
    keep(fx.load_model(mine).sha256)
    assert fx.load_model(mine, card=card).card == card


def test_another_model_keeps_its_own(mine, tmp_path):
    keep(fx.load_model(mine).sha256)
    other = tmp_path / "other.onnx"
    onnx.save(networks.iresnet((1, 1, 1, 1), width=4, dimension=16, batch=1, seed=1), other)
    other.with_suffix(".toml").write_text(mine.with_suffix(".toml").read_text("utf-8"))
    assert fx.load_model(other).card.threshold == 0.3


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda text: text[: len(text) // 3], "Expected|Illegal|Unterminated|missing"),
        (lambda text: text + "extra = 1\n", "unexpected keyword argument 'extra'"),
        (lambda text: text.replace("0.25", "nan"), r"threshold nan is no cosine in \[-1, 1\]"),
        (lambda text: text.replace("0.25", "true"), "threshold True is no cosine"),
        (lambda text: text.replace('"mine"', "1"), "model is 1; it must be a text"),
    ],
)
def test_a_damaged_file_is_named(mine, damage, why):
    path = keep(fx.load_model(mine).sha256, 0.25)
    path.write_text(damage(path.read_text("utf-8")), "utf-8")
    message = rf"{path.name} is no stored threshold \(.*({why}).*\): delete it"
    with pytest.raises(fx.ModelError, match=message):
        fx.load_model(mine)
    path.unlink()
    assert fx.load_model(mine).card.threshold == 0.3


def keep_norms(sha256=SHA256, norms=(0.5, 1.25)):
    return calibration.store_norms(sha256, norms, "mean over 2 images", model="mine")


def test_norms_are_stored_and_read_again(tmp_path):
    assert calibration.stored_norms(SHA256) is None
    assert calibration.stored_norms(None) is None
    path = keep_norms()
    assert path == calibration.norms_file_of(SHA256) == tmp_path / "cards" / "norms" / path.name
    found = calibration.stored_norms(SHA256)
    assert (found.model, found.norms) == ("mine", (0.5, 1.25))
    assert found.norms_source == (
        f"mean over 2 images; measured by `fggb models norms` on {found.date}"
    )
    assert calibration.stored(SHA256) is None


def test_a_loaded_model_has_the_stored_norms_beside_the_threshold(mine):
    sha256 = fx.load_model(mine).sha256
    norms = tuple(float(k + 1) for k in range(16))
    keep_norms(sha256, norms)
    assert (fx.load_model(mine).card.norms, fx.load_model(mine).card.threshold) == (norms, 0.3)
    keep(sha256, 0.25)
    card = fx.load_model(mine).card
    assert (card.norms, card.threshold) == (norms, 0.25)
    assert card.norms_source == calibration.stored_norms(sha256).norms_source


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda text: text.replace("[0.5,", "[-0.5,"), "norms must be positive, finite numbers"),
        (lambda text: text.replace("[0.5,", "[true,"), "norms must be positive"),
        (lambda text: text.replace("[0.5, 1.25]", "1.25"), "norms must be positive"),
        (lambda text: text.replace('"mine"', "2"), "model is 2; it must be a text"),
        (lambda text: text[:20], "Expected|Illegal|Unterminated|missing"),
    ],
)
def test_damaged_norms_are_named(damage, why):
    path = keep_norms()
    path.write_text(damage(path.read_text("utf-8")), "utf-8")
    message = rf"{path.name} is no stored norms \(.*({why}).*\): delete it, and measure them again"
    with pytest.raises(fx.ModelError, match=message):
        calibration.stored_norms(SHA256)


def test_what_cannot_be_stored_is_refused(tmp_path, monkeypatch):
    with pytest.raises(fx.ModelError, match=r"threshold 1\.0000000000000002 is no cosine"):
        keep(threshold=1.0000000000000002)
    assert not (tmp_path / "cards").exists()
    (tmp_path / "file").touch()
    monkeypatch.setenv("FGGB_CARDS", str(tmp_path / "file"))
    with pytest.raises(fx.ModelError, match=r"of 'mine' is not stored: cannot write.*FGGB_CARDS"):
        keep()

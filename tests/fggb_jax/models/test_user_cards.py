"""The user's own models, known by name."""

import hashlib

import onnx
import pytest

import fggb_jax as fx
from fggb_jax.models import user_cards, zoo

pytestmark = pytest.mark.usefixtures("surroundings")


def test_added_and_found_again(mine, tmp_path):
    sha256 = hashlib.sha256(mine.read_bytes()).hexdigest()
    toml = user_cards.add(mine)
    assert toml == tmp_path / "cards" / "mine.toml"
    mine.unlink()
    card = user_cards.user_cards()["mine"]
    assert card == fx.Card(
        "mine", (112, 112), source='trained by "us", ö', threshold=0.3, sha256=sha256
    )
    assert zoo.fetch(card, offline=True) == tmp_path / "cards" / "mine.onnx"


def test_added_where_it_lies(mine):
    card = fx.Card("other", (112, 112))
    user_cards.add(mine, "my.model-2", card=card, copy=False)
    found = user_cards.user_cards()["my.model-2"]
    assert zoo.fetch(found, offline=True) == mine


def test_external_data_stays_where_it_is(mine):
    proto = onnx.load(mine)
    onnx.save(proto, mine, save_as_external_data=True, location="data", size_threshold=0)
    toml = user_cards.add(mine)
    assert not toml.with_suffix(".onnx").exists()
    assert zoo.fetch(user_cards.user_cards()["mine"], offline=True) == mine


def test_a_name_can_be_replaced(mine):
    user_cards.add(mine)
    with pytest.raises(fx.ModelError, match=r"there is a card .*mine\.toml already; choose"):
        user_cards.add(mine)
    user_cards.add(mine, copy=False, replace=True)
    assert zoo.fetch(user_cards.user_cards()["mine"], offline=True) == mine


@pytest.mark.parametrize(
    ("name", "message"),
    [("../up", "makes no file name"), ("", "makes no file name"), ("sface", "of the package")],
)
def test_a_bad_name_is_refused(mine, name, message):
    with pytest.raises(fx.ModelError, match=message):
        user_cards.add(mine, name)


def test_what_cannot_be_added(mine, tmp_path):
    with pytest.raises(fx.ModelError, match=r"is no file of weights; give an \.onnx"):
        user_cards.add(tmp_path / "none.onnx")
    with pytest.raises(fx.ModelError, match=r"has sha256 .*its card says 00"):
        user_cards.add(mine, card=fx.Card("mine", (4, 4), sha256="00"))
    mine.with_suffix(".toml").unlink()
    with pytest.raises(fx.ModelError, match=r"lay a card beside it as .*face\.toml"):
        user_cards.add(mine)
    mine.write_bytes(b"text")
    with pytest.raises(fx.ModelError, match=r"is no ONNX file"):
        user_cards.add(mine, card=fx.Card("mine", (4, 4)))


def test_a_folder_that_cannot_be_written_is_named(mine, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("FGGB_CARDS", str(tmp_path / "file" / "cards"))
    with pytest.raises(fx.ModelError, match=r"'mine' is not added: cannot write.*set FGGB_CARDS"):
        user_cards.add(mine)


def test_a_broken_card_is_reported_and_skipped(mine):
    assert user_cards.user_cards() == {}
    folder = user_cards.add(mine).parent
    (folder / "broken.toml").write_text("name = ")
    (folder / "number.toml").write_text("name = 5\nsize = [4, 4]\n")
    (folder / "second.toml").write_text('name = "mine"\nsize = [4, 4]\n')
    (folder / "sface.toml").write_text('name = "sface"\nsize = [4, 4]\n')
    reports = []
    assert list(user_cards.user_cards(reports.append)) == ["mine"]
    assert [text.split()[2] for text in reports] == [
        "broken.toml", "number.toml", "second.toml", "sface.toml",
    ]  # fmt: skip
    with pytest.warns(UserWarning, match=r"\.toml is skipped") as warned:
        user_cards.user_cards()
    assert len(warned) == 4

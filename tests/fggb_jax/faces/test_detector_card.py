import hashlib

from fggb_jax.faces.detector_card import detector_cards
from fggb_jax.models import zoo


def test_the_cards_have_what_a_download_asks_for():
    for name, card in detector_cards().items():
        assert card.name == name
        assert card.kind in ("yunet", "scrfd")
        assert card.source.startswith("https://")
        assert zoo.needs_consent(card) == (card.kind == "scrfd")


def test_yunets_card_is_of_the_official_file(model_file):
    card = detector_cards()["yunet"]
    data = model_file("face_detection_yunet_2023mar.onnx").read_bytes()
    assert hashlib.sha256(data).hexdigest() == card.sha256

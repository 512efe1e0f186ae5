import numpy as np
import pytest

import fggb_jax as fx
from fggb_jax.data import samples
from fggb_jax.faces import finder
from fggb_jax.faces.detection import Detection

CARD = fx.Card("arc", size=(112, 112), landmarks="arcface-5", template="arcface-112")


def detection(left, size, points=None):
    landmarks = {} if points is None else {"arcface-5": points}
    return Detection((left, 10.0, left + size, 10.0 + size), 1.0, landmarks)


class Fake:
    """Finds what it is told to."""

    name, schemes = "fake", ("arcface-5",)

    def __init__(self, *faces):
        self.faces = list(faces)

    def detect(self, image):
        return self.faces


FACES = [detection(300, 40), detection(0, 60), detection(150, 50)]


@pytest.mark.parametrize(
    ("which", "left"), [("largest", 0), ("center", 150), ("0", 0), (1, 150), ("2", 300)]
)
def test_the_face_that_is_meant(which, left):
    chosen, notes = finder.choose(FACES, which, (200, 400), "a.jpg")
    assert chosen.box[0] == left
    assert "a.jpg has 3 faces; taken: number" in notes[0]


def test_one_face_needs_no_note():
    chosen, notes = finder.choose(FACES[:1], "largest", (200, 400), "a.jpg")
    assert (chosen, notes) == (FACES[0], [])


def test_faces_that_are_not_there():
    with pytest.raises(fx.ImageError, match=r"a\.jpg has 3 faces; there is no face 3"):
        finder.choose(FACES, 3, (200, 400), "a.jpg")
    with pytest.raises(fx.OptionError, match="face is 'left'; give largest, center, or an index"):
        finder.choose(FACES, "left", (200, 400), "a.jpg")
    photo = np.zeros((50, 60, 3), np.uint8)
    with pytest.raises(fx.ImageError, match=r"no face found in b\.jpg \(60×50\) by fake"):
        finder.find_face(photo, CARD, Fake(), name="b.jpg")


def test_the_chip_is_cut_at_the_landmarks():
    points = np.float32(samples.landmarks()["photos"]["biden.jpg"]["arcface-5"])
    photo = samples.photograph("biden")
    found = finder.find_face(photo, CARD, Fake(detection(0, 99, points)))
    given = finder.given_face(photo, CARD, {"arcface-5": points})
    np.testing.assert_array_equal(found.aligned.chip, given.aligned.chip)
    shipped = samples.chip("biden", fx.cards()["sface"])
    assert np.abs(found.aligned.chip.astype(float) - shipped).mean() < 5


def test_a_card_without_alignment_is_named():
    with pytest.raises(fx.ModelError, match="'plain' does not say how faces are aligned"):
        finder.detector_for(fx.Card("plain", size=(8, 8)))


def test_a_detector_without_the_landmarks_is_named(model_file):
    path = model_file("face_detection_yunet_2023mar.onnx")
    assert finder.detector_for(CARD, path).schemes == ("arcface-5",)
    with pytest.raises(fx.ModelError, match="'dlib-resnet-v1' is aligned by dlib-5"):
        finder.detector_for(fx.cards()["dlib-resnet-v1"], path)


@pytest.fixture
def nothing_here(tmp_path, monkeypatch):
    """No weights in any cache."""
    monkeypatch.setenv("FGGB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FGGB_SOURCE", raising=False)


def test_auto_takes_yunet_where_its_weights_are(nothing_here, dlib_proto, model_file, monkeypatch):
    models = model_file("face_detection_yunet_2023mar.onnx").parent
    assert finder.detector_for(CARD).name == "dlib-mmod, dlib-68"
    assert finder.detector_for(CARD, beside=models).name == "yunet"
    monkeypatch.setenv("FGGB_SOURCE", str(models))
    assert finder.detector_for(CARD).name == "yunet"
    assert finder.detector_for(CARD, "dlib").name == "dlib-mmod, dlib-68"
    dlib = finder.detector_for(fx.cards()["dlib-resnet-v1"], beside=models)
    assert dlib.name == "dlib-mmod, dlib-5"


def test_another_file_of_yunets_name_is_not_taken(nothing_here, dlib_proto, tmp_path):
    (tmp_path / "face_detection_yunet_2023mar.onnx").write_bytes(b"another")
    assert finder.detector_for(CARD, beside=tmp_path).name == "dlib-mmod, dlib-68"


def test_a_detector_by_name_comes_from_the_zoo(nothing_here, model_file, monkeypatch):
    monkeypatch.setenv("FGGB_OFFLINE", "1")
    with pytest.raises(fx.ModelError, match="'yunet' cannot be downloaded offline"):
        finder.detector_for(CARD, "yunet")
    monkeypatch.setenv("FGGB_SOURCE", str(model_file("").parent / "models"))
    assert finder.detector_for(CARD, "yunet").name == "yunet"


def test_a_detector_that_is_none(tmp_path):
    with pytest.raises(fx.ModelError, match=r"no detector 'nowhere\.onnx': give auto, dlib, yunet"):
        finder.detector_for(CARD, "nowhere.onnx")
    broken = tmp_path / "yunet.onnx"
    broken.write_bytes(b"broken")
    with pytest.raises(fx.ModelError, match=r"the detector .*yunet\.onnx cannot be read"):
        finder.detector_for(CARD, broken)


@pytest.mark.parametrize("name", samples.NAMES)
def test_the_default_detector_finds_the_sample_faces(dlib_proto, name):
    """The chip that it leads to is the shipped one, made by dlib, to the network."""
    model = fx.load_model()
    detector = finder.detector_for(model.card)
    found = finder.find_face(samples.photograph(name), model.card, detector)
    z = model.embed(np.stack([found.aligned.chip, samples.chip(name, model.card)]))
    assert z[0] @ z[1] / np.linalg.norm(z[0]) / np.linalg.norm(z[1]) > 0.985
    assert found.notes == []

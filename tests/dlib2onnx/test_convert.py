"""The converted network against dlib itself, through onnxruntime."""

import hashlib
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

import dlib2onnx

REPOSITORY = Path(__file__).parents[2]
PORTRAITS = REPOSITORY / "fggb_jax" / "data" / "portraits"
LFW = REPOSITORY.parent / "shared" / "data" / "lfw" / "images"
PEOPLE = 10

COSINE = 0.999999
ERROR = 1e-5


@pytest.fixture(scope="module")
def model(resnet_path):
    return dlib2onnx.convert(resnet_path)


@pytest.fixture(scope="module")
def session(model):
    return onnxruntime.InferenceSession(model.SerializeToString())


@pytest.fixture(scope="module")
def describe(resnet_path):
    """dlib's own embedding of a chip."""
    dlib = pytest.importorskip("dlib", reason="the oracle is absent: pip install dlib-bin")
    oracle = dlib.face_recognition_model_v1(str(resnet_path))
    return lambda chip: np.array(oracle.compute_face_descriptor(np.ascontiguousarray(chip)))


def embed(session, chips):
    """Chips (n, 150, 150, 3) uint8 → embeddings (n, 128)."""
    image = np.asarray(chips).transpose(0, 3, 1, 2).astype(np.float32)
    return session.run(["embedding"], {"image": image})[0]


def assert_agrees(session, describe, chips):
    expected = np.array([describe(chip) for chip in chips])
    single = np.concatenate([embed(session, [chip]) for chip in chips])
    fives = np.concatenate([embed(session, chips[i : i + 5]) for i in range(0, len(chips), 5)])
    for embeddings in (single, fives):
        norms = np.linalg.norm(embeddings, axis=1) * np.linalg.norm(expected, axis=1)
        assert np.min(np.sum(embeddings * expected, axis=1) / norms) >= COSINE
        assert np.abs(embeddings - expected).max() <= ERROR
    assert np.abs(single - fives).max() <= 1e-6


def synthetic_chips():
    ramp = np.broadcast_to(np.linspace(0, 255, 150)[:, None], (150, 150))
    gradient = np.stack([ramp, ramp.T, ramp[::-1]], axis=-1)
    checks = np.indices((150, 150)).sum(0) // 10 % 2 * 255
    noise = np.random.default_rng(0).integers(0, 256, (5, 150, 150, 3))
    chips = [np.zeros_like(gradient), np.full_like(gradient, 255), gradient]
    return np.array([*chips, np.repeat(checks[:, :, None], 3, axis=2), *noise]).astype(np.uint8)


def test_synthetic_chips(session, describe):
    assert_agrees(session, describe, synthetic_chips())


def test_portraits(session, describe):
    paths = sorted(PORTRAITS.glob("*_dlib150.png"))
    assert len(paths) == 3
    chips = np.array([np.asarray(Image.open(path).convert("RGB")) for path in paths])
    assert_agrees(session, describe, chips)


def test_photographs(session, describe, models_folder):
    if not LFW.is_dir():
        pytest.skip("LFW is absent: it is no part of the project")
    import dlib

    detect = dlib.get_frontal_face_detector()
    predict = dlib.shape_predictor(str(models_folder / "shape_predictor_5_face_landmarks.dat"))
    chips = []
    for person in sorted(LFW.iterdir())[:PEOPLE]:
        photograph = np.asarray(Image.open(min(person.glob("*.jpg"))).convert("RGB"))
        faces = detect(photograph, 0)
        if faces:
            chips.append(dlib.get_face_chip(photograph, predict(photograph, faces[0]), size=150))
    assert len(chips) >= PEOPLE - 1
    assert_agrees(session, describe, np.array(chips))
    # Whatever agrees must also tell people apart, or the comparison could not fail.
    embeddings = embed(session, chips)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    assert np.min(unit @ unit.T) < 0.95


def test_red_and_blue_are_not_the_same(session, describe):
    chip = synthetic_chips()[2]
    assert np.abs(embed(session, [chip[:, :, ::-1]]) - describe(chip)).max() > 100 * ERROR


def test_interface(model):
    onnx.checker.check_model(model, full_check=True)
    assert (model.ir_version, model.opset_import[0].version) == (8, 18)
    (image,), (embedding,) = model.graph.input, model.graph.output
    assert (image.name, embedding.name) == ("image", "embedding")
    for value, shape in ((image, ["batch", 3, 150, 150]), (embedding, ["batch", 128])):
        kind = value.type.tensor_type
        assert kind.elem_type == onnx.TensorProto.FLOAT
        assert [d.dim_param or d.dim_value for d in kind.shape.dim] == shape


def test_operators(model):
    assert {node.op_type for node in model.graph.node} == {
        "Sub", "Mul", "Conv", "Relu", "MaxPool", "AveragePool", "Pad", "Add",
        "GlobalAveragePool", "Flatten", "MatMul",
    }  # fmt: skip
    names = {i.name for i in model.graph.initializer}
    assert {"level3.block1.conv1.weight", "level0.block1.conv2.bias", "fc.weight"} <= names


def test_origin(model, resnet_path):
    digest = hashlib.sha256(resnet_path.read_bytes()).hexdigest()
    assert model.producer_name == "dlib2onnx"
    origin = {prop.key: prop.value for prop in model.metadata_props}
    assert origin == {"source_sha256": digest, "license": "CC0-1.0"}


def test_the_licence_is_the_published_files_alone(resnet_path):
    raw = bytearray(resnet_path.read_bytes())
    raw[0x160] ^= 1  # the last bit of a weight
    origin = {prop.key: prop.value for prop in dlib2onnx.convert(bytes(raw)).metadata_props}
    assert origin == {"source_sha256": hashlib.sha256(raw).hexdigest()}


def test_path_string_and_bytes_give_the_same(model, resnet_path):
    assert dlib2onnx.convert(str(resnet_path)) == model
    assert dlib2onnx.convert(resnet_path.read_bytes()) == model


def test_quick(resnet_path):
    start = time.process_time()
    dlib2onnx.convert(resnet_path)
    assert time.process_time() - start < 1


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        dlib2onnx.convert(tmp_path / "absent.dat")

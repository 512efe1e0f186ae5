"""The detector's network: as read, as ONNX, and against dlib itself."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import dlib2onnx
from dlib2onnx.layers import Con, Shape
from dlib2onnx.mmod import face_detector
from dlib2onnx.network import read_network

PORTRAIT = Path(__file__).parents[2] / "fggb_jax" / "data" / "portraits" / "biden.jpg"


@pytest.fixture(scope="module")
def published(mmod_path):
    return mmod_path.read_bytes()


@pytest.fixture(scope="module")
def model(published):
    return dlib2onnx.convert(published)


@pytest.fixture(scope="module")
def session(model):
    return onnxruntime.InferenceSession(model.SerializeToString())


def properties(model):
    return {prop.key: prop.value for prop in model.metadata_props}


def test_the_network():
    kinds = Counter(type(layer).__name__ for layer in face_detector())
    assert kinds == {"LossMmod": 1, "Con": 7, "Relu": 6, "BnCon": 6, "PyramidInput": 1}
    filters = [layer.filters for layer in reversed(face_detector()) if isinstance(layer, Con)]
    assert filters == [16, 32, 32, 45, 45, 45, 1]


def test_published_file(published):
    steps = read_network(published, face_detector())
    assert steps[-1].shape == Shape(1, 0, 0)
    sizes = [w.size for step in steps[1:-1] for w in step.weights.values()]
    assert sum(sizes) == 181_141
    # The file's first number: b1 0c 35 bb.
    assert steps[1].weights["weight"][0, 0, 0, 0] == float.fromhex("-0x1.6a1962p-9")


def test_interface(model):
    onnx.checker.check_model(model, full_check=True)
    (image,), (detections,) = model.graph.input, model.graph.output
    shapes = {
        "image": ["batch", 3, "height", "width"],
        "detections": ["batch", 1, "rows", "columns"],
    }
    for value in (image, detections):
        kind = value.type.tensor_type
        assert kind.elem_type == onnx.TensorProto.FLOAT
        assert [d.dim_param or d.dim_value for d in kind.shape.dim] == shapes[value.name]
    assert Counter(node.op_type for node in model.graph.node) == {
        "Sub": 1, "Mul": 1, "Conv": 7, "Relu": 6,
    }  # fmt: skip


def test_any_size_and_batch(session):
    image = np.random.default_rng(0).uniform(0, 255, (2, 3, 61, 140)).astype(np.float32)
    (maps,) = session.run(None, {"image": image})
    assert maps.shape == (2, 1, 5, 14)
    (single,) = session.run(None, {"image": image[1:]})
    np.testing.assert_allclose(maps[1:], single, atol=1e-5)


def test_metadata(model, published):
    said = properties(model)
    assert said["source_sha256"] == hashlib.sha256(published).hexdigest()
    assert said["license"] == "CC0-1.0"
    options = json.loads(said["mmod"])
    fill = options["pyramid"].pop("fill")
    np.testing.assert_allclose(fill, [122.782, 117.001, 104.298], rtol=1e-7)
    assert options == {
        "windows": [{"width": 80, "height": 80}],
        "stride": 8,
        "offset": 14,
        "threshold": 0.0,
        "overlaps_nms": {"iou": 0.3382761351109955, "covered": 1.0},
        "bounding_box_regression": False,
        "pyramid": {"rate": 6, "padding": 10, "outer_padding": 11},
    }


def test_the_fill_is_the_networks_zero(model, session):
    """Between the levels of its pyramid dlib has zeros of the normalized image."""
    fill = np.float32(json.loads(properties(model)["mmod"])["pyramid"]["fill"])
    mean = next(i for i in model.graph.initializer if i.name == "normalize.mean")
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(mean).ravel(), fill)


def test_against_dlib(session, model, mmod_path):
    """A face of one window's size, far from whatever else dlib tiles into its image."""
    dlib = pytest.importorskip("dlib", reason="the oracle is absent: pip install dlib-bin")
    oracle = dlib.cnn_face_detection_model_v1(str(mmod_path))
    options = json.loads(properties(model)["mmod"])
    image = np.full((368, 368, 3), 90, np.uint8)
    image[80:268, 90:240] = np.asarray(Image.open(PORTRAIT).resize((150, 188)))
    (face,) = oracle(image, 0)
    assert face.rect.width() == options["windows"][0]["width"]  # of the pyramid's first level

    margin = options["pyramid"]["outer_padding"]
    around = np.empty((1, 3, 368 + 2 * margin, 368 + 2 * margin), np.float32)
    around[:] = np.array(options["pyramid"]["fill"])[:, None, None]
    around[0, :, margin:-margin, margin:-margin] = image.transpose(2, 0, 1)
    (maps,) = session.run(None, {"image": around})
    place = np.unravel_index(maps[0, 0].argmax(), maps.shape[2:])
    assert maps.max() == pytest.approx(face.confidence, abs=1e-4)
    centre = np.array(place) * options["stride"] + options["offset"] - margin
    rect = face.rect
    found = np.array([rect.top() + rect.bottom(), rect.left() + rect.right()]) / 2
    assert np.abs(centre - found).max() <= 0.5


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_broken_files(published, data):
    # Its first 6 KiB and its last hold one of everything that is not a weight.
    broken = bytearray(published)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, 6000)) - data.draw(st.sampled_from([0, 200]))
        broken[place] ^= data.draw(st.integers(1, 255))
    if data.draw(st.booleans()):
        del broken[data.draw(st.integers(0, len(broken) - 1)) :]
    try:
        model = dlib2onnx.convert(bytes(broken))
    except dlib2onnx.DlibFormatError:
        return
    weights = map(onnx.numpy_helper.to_array, model.graph.initializer)
    assert all(np.isfinite(w).all() for w in weights)

"""Folded networks compute the same, by onnxruntime, and have no normalization left."""

from collections import Counter
from importlib import import_module

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import networks


def fold(proto):
    return import_module("fold").fold(proto)


def run(proto, x):
    import onnxruntime

    session = onnxruntime.InferenceSession(proto.SerializeToString())
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def assert_same(proto, x, relative=1e-5):
    folded = fold(proto)
    onnx.checker.check_model(folded)
    wanted = run(proto, x)
    np.testing.assert_allclose(run(folded, x), wanted, 0, relative * np.abs(wanted).max())
    return Counter(node.op_type for node in folded.graph.node)


def faces(size=112):
    return np.random.default_rng(0).uniform(-1, 1, (2, 3, size, size)).astype(np.float32)


@pytest.mark.parametrize(
    ("build", "keywords", "additions"),
    [
        # An addition a block stays before its first convolution, and one before the last product.
        (networks.iresnet, {"layers": (2, 2, 2, 2)}, 8 + 8 + 1),
        (networks.mobilefacenet, {"opset": 11}, 12),
    ],
)
def test_face_networks(build, keywords, additions):
    left = assert_same(build(**keywords), faces())
    assert left["BatchNormalization"] == 0
    assert left["Add"] == additions


def test_sface(model_file):
    proto = onnx.load(model_file("face_recognition_sface_2021dec.onnx"))
    x = 255 * np.random.default_rng(0).random((1, 3, 112, 112), np.float32)
    left = assert_same(proto, x)
    assert left["BatchNormalization"] == left["Mul"] == 0


def test_dlib(dlib_proto):
    x = 255 * np.random.default_rng(0).random((1, 3, 150, 150), np.float32)
    assert assert_same(dlib_proto, x)["Mul"] == 0


@settings(deadline=None, max_examples=12)
@given(
    groups=st.sampled_from([1, 3]),
    pad=st.sampled_from([0, 1, 2]),
    op=st.sampled_from(["Add", "Sub", "Mul", "Div"]),
    size=st.sampled_from([(), (1,), (3, 1, 1), (1, 3, 1, 1)]),
    bias=st.booleans(),
)
def test_an_affine_map_before_and_behind_a_convolution(groups, pad, op, size, bias):
    g = networks.Builder()

    def affine(x):
        return g.node(op, x, g.weight(g.rng.uniform(0.5, 2, size).astype(np.float32)))

    x = affine(g.conv(affine("input"), 3, 3, 3, 1, pad, groups, bias))
    x = g.node("GlobalAveragePool", g.node("Relu", x))
    proto = g.model(g.node("Flatten", x), 18, dimension=3)
    left = assert_same(proto, faces())
    assert left[op] == (1 if op in ("Add", "Sub") else 0)


def test_what_another_node_reads_is_left_alone():
    g = networks.Builder()
    y = g.conv("input", 3, 3, 3)
    both = g.node("Add", g.batch_norm(y, 3), g.batch_norm(g.node("Relu", y), 3))
    proto = g.model(g.node("Flatten", g.node("GlobalAveragePool", both)), 18, dimension=3)
    assert assert_same(proto, faces())["BatchNormalization"] == 2


def test_shared_weights_are_scaled_for_one_reader_only():
    g = networks.Builder()
    weight = g.weight(g.rng.normal(size=(3, 3, 1, 1)).astype(np.float32))
    x = g.batch_norm(g.node("Conv", "input", weight), 3)
    x = g.node("Conv", g.node("Relu", x), weight)
    proto = g.model(g.node("Flatten", g.node("GlobalAveragePool", x)), 18, dimension=3)
    assert assert_same(proto, faces())["BatchNormalization"] == 0


def test_a_scale_of_zero_is_not_divided_by():
    g = networks.Builder()
    scale = g.weight(np.float32([0, 1, 2]).reshape(3, 1, 1))
    shift = g.weight(np.float32([1, 2, 3]).reshape(3, 1, 1))
    x = g.node("Add", g.node("Mul", "input", scale), shift)
    x = g.node("Relu", g.conv(x, 3, 3, 3))
    proto = g.model(g.node("Flatten", g.node("GlobalAveragePool", x)), 18, dimension=3)
    assert assert_same(proto, faces())["Mul"] == 1

"""The graph against the same network written out in NumPy, in float64."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from dlib2onnx.emit import emit_graph
from dlib2onnx.fold import fold_affine
from dlib2onnx.layers import Affine, Shape
from dlib2onnx.network import Step, read_network


def windows(x, size, stride):
    """(batch, channels, rows, columns, size, size)."""
    view = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(2, 3))
    return view[:, :, ::stride, ::stride]


def conv(x, weights, stride):
    size = weights["weight"].shape[-1]
    if stride == 1:
        x = np.pad(x, [(0, 0), (0, 0), (size // 2,) * 2, (size // 2,) * 2])
    y = np.einsum("bcijhw,ochw->boij", windows(x, size, stride), weights["weight"].astype(float))
    return y + weights["bias"][:, None, None]


def affine(x, weights):
    return x * weights["gamma"][:, None, None] + weights["beta"][:, None, None]


def block(x, weights, name, stride):
    x = affine(conv(x, weights[f"{name}.conv1"], stride), weights[f"{name}.affine1"])
    x = conv(np.maximum(x, 0), weights[f"{name}.conv2"], 1)
    return affine(x, weights[f"{name}.affine2"])


def reference(image, weights):
    """The small network of conftest.py."""
    x = (image - weights["normalize"]["mean"][:, None, None]) / 256
    x = np.maximum(affine(conv(x, weights["stem.conv"], 2), weights["stem.affine"]), 0)
    x = windows(x, 3, 2).max((-2, -1))
    x = np.maximum(x + block(x, weights, "level1.block1", 1), 0)
    total = np.zeros((len(x), 6, 2, 2))
    total[:, :, :1, :1] += block(x, weights, "level0.block1", 2)
    total[:, :4] += windows(x, 2, 2).mean((-2, -1))
    return np.maximum(total, 0).mean((2, 3)) @ weights["fc"]["weight"]


@pytest.fixture(scope="module")
def graph(dlib_format, small_file):
    steps = read_network(small_file[0], dlib_format.small_network())
    return emit_graph(fold_affine(steps), "small")


@pytest.fixture(scope="module")
def model(graph):
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])


@pytest.mark.parametrize("batch", [1, 3])
def test_against_numpy(model, small_file, batch):
    onnx.checker.check_model(model, full_check=True)
    image = np.random.default_rng(1).uniform(0, 255, (batch, 3, 23, 23)).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (embedding,) = session.run(None, {"image": image})
    expected = reference(image.astype(float), small_file[1])
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(embedding, expected, rtol=1e-5, atol=1e-5)


def test_pads_are_written_only_where_they_are_needed(graph):
    pads = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer if "pad" in i.name}
    assert {name: values.tolist() for name, values in pads.items()} == {
        "level0.block1.add.pad_current.pads": [0, 0, 0, 0, 0, 2, 0, 0],
        "level0.block1.add.pad_tagged.pads": [0, 0, 0, 0, 0, 0, 1, 1],
    }
    assert all(values.dtype == np.int64 for values in pads.values())


def test_names(graph):
    names = [i.name for i in graph.initializer]
    assert "level0.block1.conv1.weight" in names
    assert len(set(names)) == len(names)
    assert all(node.name for node in graph.node)


def test_a_layer_without_a_function_is_named():
    step = Step(Affine(name="a"), {}, Shape(1, 1, 1), 0)
    with pytest.raises(TypeError, match=r"Affine has no function in emit\.py"):
        emit_graph([step], "broken")

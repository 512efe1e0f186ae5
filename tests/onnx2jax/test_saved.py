"""A saved model: the same outputs, without onnx; broken directories give clear errors."""

import json
import subprocess
import sys

import jax
import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import networks
import onnx2jax
from onnx2jax.saved import GRAPH, WEIGHTS


@pytest.fixture(scope="module")
def model():
    return onnx2jax.load(networks.iresnet((1, 1, 1, 1), width=8, dimension=16))


def faces(batch=2):
    return np.random.default_rng(0).random((batch, 3, 112, 112), np.float32)


def test_a_saved_model_gives_the_same_bits(model, tmp_path):
    again = onnx2jax.load(onnx2jax.save(model, tmp_path / "face"))
    assert again.params.keys() == model.params.keys()
    assert again.inputs == model.inputs
    assert len(again.stages) == len(model.stages)
    x = faces()
    np.testing.assert_array_equal(jax.jit(again)(again.params, x), jax.jit(model)(model.params, x))


def test_it_loads_where_onnx_is_not_installed(model, tmp_path):
    directory = onnx2jax.save(model, tmp_path / "face")
    code = f"""
import sys
sys.modules["onnx"] = None  # an import of it fails
import numpy as np, onnx2jax
m = onnx2jax.load({str(directory)!r})
print(m(m.params, np.zeros((1, 3, 112, 112), np.float32)).shape)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(1, 16)"


def test_trained_weights_take_the_place_of_the_models(model, tmp_path):
    trained = jax.tree.map(lambda v: v * 2, model.params)
    again = onnx2jax.load(onnx2jax.save(model, tmp_path / "face", trained))
    for name, value in again.params.items():
        np.testing.assert_array_equal(value, trained[name])


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.int4])
def test_types_that_safetensors_may_not_know(tmp_path, dtype):
    weights = np.arange(6).reshape(2, 3).astype(dtype)
    w = helper.make_tensor(
        "w",
        helper.np_dtype_to_tensor_dtype(np.dtype(dtype)),
        [2, 3],
        weights.astype(np.float32).ravel(),
    )
    nodes = [
        helper.make_node("Cast", ["w"], ["f"], to=1),
        helper.make_node("Add", ["x", "f"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])
    proto = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y], [w]),
        opset_imports=[helper.make_opsetid("", 24)],
        ir_version=11,
    )
    assert numpy_helper.to_array(w).dtype == dtype
    m = onnx2jax.load(onnx2jax.save(onnx2jax.load(proto), tmp_path / "small"))
    assert m(m.params, np.ones((2, 3), np.float32)).tolist() == [[1, 2, 3], [4, 5, 6]]


def test_subgraphs_and_strings_survive(tmp_path):
    y = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])]
    c = helper.make_tensor_value_info("c", TensorProto.BOOL, [])
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])
    then, other = (
        helper.make_graph([helper.make_node(op, ["x", "x"], ["y"])], op, [], y)
        for op in ("Add", "Mul")
    )
    node = helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other)
    proto = helper.make_model(
        helper.make_graph([node], "g", [c, x], y), opset_imports=[helper.make_opsetid("", 18)]
    )
    m = onnx2jax.load(onnx2jax.save(onnx2jax.load(proto), tmp_path / "if"))
    assert m(m.params, np.asarray(False), np.float32([3, 5])).tolist() == [9, 25]


def spoil_version(directory):
    content = json.loads((directory / GRAPH).read_text())
    (directory / GRAPH).write_text(json.dumps({**content, "format": 99}))


def spoil_weights(directory):
    path = directory / WEIGHTS
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_version, "format 99"),
        (spoil_weights, "is broken"),
        (lambda d: (d / GRAPH).write_text("{}"), "not a model that onnx2jax.save wrote"),
        (lambda d: (d / GRAPH).unlink(), "not a model that onnx2jax.save wrote"),
    ],
    ids=["version", "truncated", "empty", "missing"],
)
def test_broken_directories_say_so(model, tmp_path, spoil, words):
    directory = onnx2jax.save(model, tmp_path / "face")
    spoil(directory)
    with pytest.raises(onnx2jax.InvalidModelError, match=words):
        onnx2jax.load(directory)

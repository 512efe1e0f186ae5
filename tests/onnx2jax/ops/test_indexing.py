"""Sizes that values decide: exact eagerly, padded and counted under jit, else a clear error."""

import jax
import numpy as np
import pytest
from onnx import TensorProto, helper

import onnx2jax

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def load(op, inputs, outputs, opset=18, **options):
    attributes = options.pop("attributes", {})
    specs = [helper.make_tensor_value_info(n, kind, None) for n, kind in inputs.items()]
    results = [helper.make_tensor_value_info(n, kind, None) for n, kind in outputs.items()]
    node = helper.make_node(op, list(inputs), list(outputs), **attributes)
    proto = helper.make_model(
        helper.make_graph([node], "g", specs, results),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=8,
    )
    return onnx2jax.load(proto, **options)


X = np.float32([[0, 3, 0], [5, 0, 7]])


def test_exact_outside_jit_and_refused_inside():
    m = load("NonZero", {"x": FLOAT}, {"y": INT64})
    assert not m.static_inputs
    assert m(m.params, X).tolist() == [[0, 1, 1], [1, 0, 2]]
    with pytest.raises(onnx2jax.DataDependentError, match=r"NonZero node 'y'.*max_size="):
        jax.jit(m)(m.params, X)


def test_padded_and_counted_with_a_bound():
    m = load("NonZero", {"x": FLOAT}, {"y": INT64}, max_size=5)
    y, counts = jax.jit(m)(m.params, X)
    assert y.shape == (2, 5)
    assert counts["y"] == 3
    assert y[:, :3].tolist() == [[0, 1, 1], [1, 0, 2]]


def test_compress_takes_what_the_condition_names():
    inputs = {"x": FLOAT, "c": BOOL}
    m = load("Compress", inputs, {"y": FLOAT}, max_size=3, attributes={"axis": 1})
    y, counts = jax.jit(m)(m.params, X, np.array([False, True, True]))
    assert counts["y"] == 2
    assert y[:, :2].tolist() == [[3, 0], [0, 7]]
    exact = load("Compress", inputs, {"y": FLOAT})
    assert exact(exact.params, X, np.array([False, True, True])).tolist() == [3, 0]


def test_unique_padded():
    outputs = {"y": FLOAT, "first": INT64, "inverse": INT64, "counts": INT64}
    m = load("Unique", {"x": FLOAT}, outputs, max_size=6)
    (y, first, inverse, counts), real = jax.jit(m)(m.params, X)
    assert real["y"] == 4
    assert y[:4].tolist() == [0, 3, 5, 7]
    assert first[:4].tolist() == [0, 1, 3, 5]
    assert inverse.tolist() == [0, 1, 0, 2, 0, 3]
    assert counts[:4].tolist() == [3, 1, 1, 1]


def test_suppressed_boxes_worked_by_hand():
    """Two boxes that overlap by 0.8, one apart; the better of the two stays."""
    boxes = np.float32([[[0, 0, 10, 10], [0, 0, 10, 8], [20, 20, 30, 30]]])
    scores = np.float32([[[0.5, 0.9, 0.3]]])
    inputs = {"b": FLOAT, "s": FLOAT, "n": INT64, "iou": FLOAT}
    for overlap, expected in ((0.5, [1, 2]), (0.9, [1, 0, 2])):
        limits = np.asarray([5]), np.float32([overlap])
        m = load("NonMaxSuppression", inputs, {"y": INT64})
        assert m(m.params, boxes, scores, *limits)[:, 2].tolist() == expected
        padded = load("NonMaxSuppression", inputs, {"y": INT64}, max_size=4)
        y, counts = jax.jit(padded)(padded.params, boxes, scores, *limits)
        assert counts["y"] == len(expected)
        assert y[:, 2].tolist() == expected + [-1] * (4 - len(expected))


def test_the_largest_come_first_and_the_earlier_of_equal_ones():
    m = load(
        "TopK",
        {"x": FLOAT, "k": INT64},
        {"v": FLOAT, "i": INT64},
        attributes={"axis": 0},
    )
    assert m.static_inputs == {"k"}
    k = np.asarray([3])
    values, where = jax.jit(lambda x: m(m.params, x, k))(np.float32([2, 7, 7, 1, 7]))
    assert values.tolist() == [7, 7, 7]
    assert where.tolist() == [1, 2, 4]

import dataclasses

import numpy as np
import pytest

import networks
import onnx2jax
from onnx2jax import interpreter


@pytest.fixture(scope="module")
def proto():
    return networks.iresnet((1, 1, 1, 1), width=8, dimension=16)


def test_a_right_model_has_no_divergence(proto):
    report = onnx2jax.check(proto)
    assert report.divergence is None
    assert report.error < 1e-5
    assert report.nodes == len(proto.graph.node)


def test_the_first_wrong_node_is_named(proto, monkeypatch):
    """A PRelu that is a little wrong, from the second on: the second is named."""
    evaluate, calls = interpreter.Interpreter.evaluate, []

    def wrong(self, node, values, context):
        results = evaluate(self, node, values, context)
        if node.op == "PRelu":
            calls.append(node.name)
            if len(calls) == 2:
                return (results[0] * np.float32(1.001),)
        return results

    monkeypatch.setattr(interpreter.Interpreter, "evaluate", wrong)
    report = onnx2jax.check(proto)
    assert report.divergence.startswith(f"PRelu node '{calls[1]}' diverges first")


def test_a_free_shape_asks_for_inputs(proto):
    free = type(proto).FromString(proto.SerializeToString())
    free.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    with pytest.raises(onnx2jax.OnnxError, match=r"'input' has no fixed shape.*give `inputs`"):
        onnx2jax.check(free)
    x = np.random.default_rng(0).random((1, 3, 112, 112), dtype=np.float32)
    assert onnx2jax.check(free, {"input": x}).divergence is None


def test_reports_read_well():
    report = onnx2jax.Report(nodes=3, error=1e-7, worst=2e-7, divergence=None)
    assert str(report).startswith("3 values compared, outputs within 1.0e-07")
    assert "diverges" in str(dataclasses.replace(report, divergence="X diverges first"))

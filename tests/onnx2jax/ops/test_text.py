"""Strings stay on the host: exact outside jit, a clear error inside."""

import jax
import numpy as np
import onnx
import pytest

import onnx2jax
import single

CASES = {
    "Cast": ("", 19, {"to": onnx.TensorProto.STRING}, ["1", "7"]),
    "LabelEncoder": (
        "ai.onnx.ml",
        4,
        {"keys_int64s": [1, 2], "values_strings": ["one", "two"], "default_string": "many"},
        ["one", "many"],
    ),
}


@pytest.mark.parametrize("op", CASES)
def test_numbers_become_strings_outside_jit_alone(op):
    domain, opset, attributes, expected = CASES[op]
    x = np.int64([1, 7])
    m = onnx2jax.load(single.model(op, {"x": x}, ["y"], opset, domain, **attributes))
    assert m(m.params, x).tolist() == expected
    with pytest.raises(onnx2jax.DataDependentError, match="call the model outside jit"):
        jax.jit(m)(m.params, x)

"""ONNX's own cases, as its test suite has them."""

import warnings

import numpy as np
import onnx
from onnx import numpy_helper


def node_cases():
    """The cases of one operator each, those of expanded functions left out, by name."""
    from onnx.backend.test.loader import load_model_tests

    np.random.seed(0)  # noqa: NPY002  the cases draw from the global generator
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = load_model_tests(kind="node")
    return sorted((c for c in found if "_expanded" not in c.name), key=lambda c: c.name)


def arrays(values):
    """A data set's values as the suite's runner would have read them from disk."""
    return [_array(v) for v in values]


def _array(value):
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, np.generic) else value

"""ONNX's own test suite: what is not refused must be right, and computed inside jit."""

import warnings

import numpy as np
import onnx
import pytest
from onnx.backend.test.runner import Runner

import onnx2jax

# Each case of a fixed sample in CI; all of them with `pytest -m slow`.
SAMPLE = 12


def cases():
    from onnx.backend.test.loader import load_model_tests

    np.random.seed(0)  # noqa: NPY002  the cases draw from the global generator
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = load_model_tests(kind="node")
    # Functions expanded into other operators test those again.
    return sorted((c for c in found if "_expanded" not in c.name), key=lambda c: c.name)


def arrays(values):
    return [onnx.numpy_helper.to_array(v) if isinstance(v, onnx.TensorProto) else v for v in values]


def run(case):
    """True where the case ran, False where its model is refused as unsupported."""
    try:
        prepared = onnx2jax.backend.prepare(case.model)
        for inputs, outputs in case.data_sets:
            results = prepared.run(arrays(inputs))
            assert prepared.tags["jit"]
            Runner.assert_similar_outputs(arrays(outputs), results, rtol=case.rtol, atol=case.atol)
    except onnx2jax.UnsupportedModelError:
        return False
    return True


@pytest.fixture(scope="module")
def suite():
    return cases()


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::UserWarning")
def test_a_sample_of_the_official_suite_is_right_or_refused(suite):
    ran = sum(run(case) for case in suite[::SAMPLE])
    assert ran >= 0.5 * len(suite[::SAMPLE])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::UserWarning")
def test_the_whole_official_suite_is_right_or_refused(suite):
    assert sum(run(case) for case in suite) >= 783


def test_devices_by_onnx_names():
    assert onnx2jax.backend.supports_device("CPU")
    assert not onnx2jax.backend.supports_device("QUANTUM")

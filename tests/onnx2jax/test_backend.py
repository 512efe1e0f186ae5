"""ONNX's own test suite: what is not refused must be right, most of it computed inside jit."""

import pytest
from onnx.backend.test.runner import Runner

import official
import onnx2jax

# Each case of a fixed sample in CI; all of them with `pytest -m slow`.
SAMPLE = 12


def run(case):
    """(whether the case ran, whether inside jit); False, False where its model is refused."""
    try:
        prepared = onnx2jax.backend.prepare(case.model)
        for inputs, outputs in case.data_sets:
            results = prepared.run(official.arrays(inputs))
            Runner.assert_similar_outputs(
                official.arrays(outputs), results, rtol=case.rtol, atol=case.atol
            )
    except onnx2jax.UnsupportedModelError:
        return False, False
    return True, prepared.tags["jit"]


@pytest.fixture(scope="module")
def suite():
    return [case for case in official.node_cases() if not cannot_pass(case.name)]


def cannot_pass(name):
    """Those that expect NumPy's random numbers, and one that the suite's runner cannot compare."""
    dropped = name.startswith("test_training_dropout") and "zero_ratio" not in name
    return dropped or name.startswith("test_bernoulli") or name == "test_loop16_seq_none"


def passed(cases):
    ran, jitted = zip(*map(run, cases), strict=True)
    return sum(ran) / len(ran), sum(jitted) / len(jitted)


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::UserWarning")
def test_a_sample_of_the_official_suite_is_right(suite):
    ran, jitted = passed(suite[::SAMPLE])
    assert ran > 0.95
    assert jitted > 0.9


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::UserWarning")
def test_the_whole_official_suite_is_right(suite):
    ran, jitted = passed(suite)
    assert ran > 0.95
    assert jitted > 0.9


def test_devices_by_onnx_names():
    assert onnx2jax.backend.supports_device("CPU")
    assert not onnx2jax.backend.supports_device("QUANTUM")

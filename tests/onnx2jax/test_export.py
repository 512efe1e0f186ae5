"""StableHLO: the same outputs after a round trip, and programs for machines that are not here."""

import jax
import numpy as np
import pytest
from jax import export as jax_export

import networks
import onnx2jax
from tolerances import assert_close


@pytest.fixture(scope="module")
def model():
    return onnx2jax.load(networks.iresnet((1, 1, 1, 1), width=8, dimension=16))


@pytest.mark.parametrize("platforms", [("cpu",), ("cpu", "cuda", "tpu")])
def test_an_export_evaluates_as_the_model(model, platforms):
    x = np.random.default_rng(0).random((2, 3, 112, 112), np.float32)
    blob = onnx2jax.export(model, x.shape, platforms=platforms).serialize()
    again = jax_export.deserialize(blob)
    assert again.platforms == platforms
    assert_close(again.call(dict(model.params), x), jax.jit(model)(model.params, x))


def test_the_model_itself_is_left_as_it_was(model):
    onnx2jax.export(model, (1, 3, 112, 112))
    assert model.target is None


def test_free_dimensions_are_asked_for(model):
    with pytest.raises(onnx2jax.InputError, match=r"input 'input' has the shape .*; give one"):
        onnx2jax.export(model)
    with pytest.raises(onnx2jax.InputError, match="2 shapes given for 1 inputs"):
        onnx2jax.export(model, (1, 3, 112, 112), (1,))

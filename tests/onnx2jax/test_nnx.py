"""The flax.nnx module: the same outputs, and a loss that falls when it is trained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import networks
import onnx2jax
from tolerances import assert_close


@pytest.fixture(scope="module")
def model():
    return onnx2jax.load(networks.iresnet((1, 1, 1, 1), width=8, dimension=16))


def faces(batch=4):
    return np.random.default_rng(0).random((batch, 3, 112, 112), np.float32)


def test_the_module_evaluates_as_the_model(model):
    module = onnx2jax.to_nnx(model)
    assert_close(nnx.jit(lambda m, x: m(x))(module, faces()), jax.jit(model)(model.params, faces()))


def test_running_statistics_are_no_parameters(model):
    state = nnx.state(onnx2jax.to_nnx(model))
    trained = nnx.state(onnx2jax.to_nnx(model), nnx.Param)
    assert 0 < len(jax.tree.leaves(trained)) < len(jax.tree.leaves(state))
    kinds = nnx.state(onnx2jax.to_nnx(model), nnx.BatchStat)
    assert len(jax.tree.leaves(kinds)) % 2 == 0  # a mean and a variance each


def test_fine_tuning_lowers_the_loss(model):
    """Three identities of noise, told apart by cosine after a few steps of gradient descent."""
    module, x = onnx2jax.to_nnx(model), faces(6)
    labels = jnp.arange(6) // 2

    def loss(module):
        z = module(x)
        z = z / jnp.linalg.norm(z, axis=1, keepdims=True)
        same = labels[:, None] == labels[None]
        cosine = z @ z.T
        return jnp.mean(jnp.where(same, 1 - cosine, jnp.maximum(cosine, 0)))

    @nnx.jit
    def step(module):
        value, gradient = nnx.value_and_grad(loss)(module)
        weights = nnx.state(module, nnx.Param)
        nnx.update(module, jax.tree.map(lambda w, g: w - 0.05 * g, weights, gradient))
        return value

    values = [float(step(module)) for _ in range(8)]
    assert values[-1] < 0.8 * values[0]

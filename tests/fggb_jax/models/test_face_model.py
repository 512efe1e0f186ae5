import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import fggb_jax as fx
from tolerances import assert_close

CARD = fx.Card("own", size=(16, 16), layout="HWC", threshold=0.5)


def images(batch=2, seed=0):
    return np.random.default_rng(seed).random((batch, 16, 16, 3), dtype=np.float32)


def plain():
    w = jnp.asarray(np.random.default_rng(1).normal(size=(16, 16, 3, 8)), jnp.float32)
    return fx.FaceModel(lambda p, x: jnp.tensordot(x, p, 3), w, CARD)


class Net(nnx.Module):
    """Convolution, batch statistics, dropout: what evaluation mode is about."""

    def __init__(self, rngs):
        self.conv = nnx.Conv(3, 4, (3, 3), strides=2, rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.head = nnx.Linear(256, 8, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.conv(x)))
        return self.head(self.dropout(x.reshape(x.shape[0], -1)))


def from_nnx():
    return fx.FaceModel.from_nnx(Net(nnx.Rngs(0)), CARD)


def from_equinox():
    net = eqx.nn.MLP(16 * 16 * 3, 8, 16, 1, activation=jnp.tanh, key=jax.random.key(0))
    params, rest = eqx.partition(net, eqx.is_array)
    return fx.FaceModel(lambda p, x: eqx.combine(p, rest)(x.reshape(-1)), params, CARD)


MODELS = [plain, from_nnx, from_equinox]


@pytest.mark.parametrize("build", MODELS)
@pytest.mark.parametrize("told", [None, "bfloat16"])
def test_products_are_of_float32_unless_jax_is_told_otherwise(build, told):
    """A GPU's TF32 or a TPU's bfloat16 would make other cosines; a CPU shows the program alone."""
    model = build()
    with jax.default_matmul_precision(told):
        program = str(jax.make_jaxpr(model.embed)(jnp.asarray(images())))
        assert jax.config.jax_default_matmul_precision == told
    assert ("HIGHEST" in program) == (told is None)


@pytest.mark.parametrize("build", MODELS)
def test_any_callable_embeds_and_explains(build):
    model = build()
    x = images()
    assert model.dimension == 8
    z = model.embed(x)
    assert (z.shape, z.dtype) == ((2, 8), np.float32)
    assert_close(z[1], model(x[1]))
    e = fx.explain(model, x[0], x[1])
    cosine = z[0] @ z[1] / np.linalg.norm(z[0]) / np.linalg.norm(z[1])
    assert_close(np.float32(e.cosine), cosine)
    assert e.probe.signed.shape == (16, 16)
    assert np.abs(e.probe.signed).max() > 0


@pytest.mark.parametrize("build", MODELS)
def test_a_model_is_a_pytree(build):
    model = build()
    x = images(1)[0]
    assert_close(jax.jit(lambda m, x: m(x))(model, x), model(x))
    doubled = jax.tree.map(lambda leaf: leaf, model)
    assert doubled.card is model.card
    gradient = jax.grad(lambda m: m(x).sum(), allow_int=True)(model)
    assert isinstance(gradient, fx.FaceModel)


def test_nnx_runs_in_evaluation_mode_and_is_not_changed():
    net = Net(nnx.Rngs(0))
    before = jax.tree.map(np.asarray, nnx.state(net, nnx.BatchStat))
    model = fx.FaceModel.from_nnx(net, CARD)
    x = images()
    first, second = model.embed(x), model.embed(x)
    np.testing.assert_array_equal(first, second)  # no dropout
    reference = nnx.clone(net)
    reference.eval()
    assert_close(first, reference(x))
    after = jax.tree.map(np.asarray, nnx.state(net, nnx.BatchStat))
    assert all(map(np.array_equal, jax.tree.leaves(before), jax.tree.leaves(after)))


def test_uint8_and_floats_agree():
    model = plain()
    x = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    assert_close(model.embed(x), model.embed(x / np.float32(255)))


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (np.zeros((16, 16, 3), np.float32), r"shape \(16, 16, 3\).*\(B, 16, 16, 3\)"),
        (np.zeros((1, 3, 16, 16), np.float32), "channels last"),
        (np.zeros((1, 16, 16, 3), np.int64), "dtype int64; give uint8 or floats"),
        (np.full((1, 16, 16, 3), 128.0), r"lie in \[128, 128\]; give floats in \[0, 1\]"),
        (np.full((1, 16, 16, 3), np.nan), "lie in"),
    ],
)
def test_images_that_do_not_fit_are_refused(batch, message):
    with pytest.raises(fx.ImageError, match=message):
        plain().embed(batch)


def test_a_function_that_gives_no_vector_is_named():
    model = fx.FaceModel(lambda p, x: x, jnp.ones(1), CARD)
    with pytest.raises(fx.ModelError, match=r"returns \(16, 16, 3\) for one face"):
        _ = model.dimension
    with pytest.raises(fx.ModelError, match="embed is 3; give a function"):
        fx.FaceModel(3, None, CARD)

"""Prepared pullbacks against JAX's own, on networks that have what real ones have."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import single
from fggb_jax.attribution.pullback import WINOGRAD, prepare
from onnx2jax.lowering.channels_last import placed
from onnx2jax.lowering.conv import DENSE, Form
from tolerances import assert_close

NATIVE = Form(native=True)
COARSE = [Form(native=True, operands=jnp.bfloat16), Form(winograd=2, operands=jnp.bfloat16)]
CHANNELS = 32


def parameters(groups, seed=0):
    rng = np.random.default_rng(seed)
    normal = lambda *shape: jnp.float32(rng.normal(size=shape))  # noqa: E731
    return {
        "stem": normal(CHANNELS, 3, 3, 3) / 5,
        "first": normal(CHANNELS, CHANNELS // groups, 3, 3) / 17,
        "second": normal(CHANNELS, CHANNELS // groups, 3, 3) / 17,
        "short": normal(CHANNELS, CHANNELS, 1, 1) / 6,
        "gains": 1 + normal(4, CHANNELS) / 4,
        "squeeze": normal(CHANNELS, CHANNELS) / 6,
    }


def block(params, x, groups, squeeze):
    """A stem and a residual block of stride 2, normalizations before and behind convolutions."""

    def convolve(x, w, stride=1, groups=1):
        pad = [(w.shape[2] // 2,) * 2] * 2
        return lax.conv_general_dilated(x, w, (stride,) * 2, pad, feature_group_count=groups)

    def normalized(x, i):
        gain = params["gains"][i][None, :, None, None]
        return x * gain + jnp.sin(gain)

    x = convolve(x, params["stem"])
    x = x * jnp.where(x < 0, 0.25, 1.0)
    y = normalized(convolve(normalized(x, 0), params["first"], groups=groups), 1)
    y = y * jnp.where(y < 0, 0.25, 1.0)
    y = normalized(convolve(y, params["second"], 2, groups), 2)
    if squeeze:  # a factor of channels that is no parameter
        y = y * jax.nn.sigmoid(y.mean((2, 3)) @ params["squeeze"])[:, :, None, None]
    return y + normalized(convolve(x, params["short"], 2), 3)


@pytest.mark.parametrize("form", [DENSE, WINOGRAD, NATIVE, *COARSE], ids=str)
@pytest.mark.parametrize(("groups", "squeeze"), [(1, False), (1, True), (8, False), (32, False)])
def test_gradients_are_those_of_jax(form, groups, squeeze):
    params = parameters(groups)
    x = jnp.float32(np.random.default_rng(1).normal(size=(1, 3, 12, 10)))

    @jax.jit
    def pulled(params, x, cotangents):
        network = lambda x: block(params, x, groups, squeeze)  # noqa: E731
        y, step = prepare(network, placed(x), lambda g: g, form=form)
        z, pull = jax.vjp(network, x)
        cotangents = cotangents.reshape(-1, *z.shape)
        lying = jax.vmap(lambda c: c.transpose(y.order))(cotangents)
        return y.plain, jax.vmap(step)(lying), z, jax.vmap(lambda c: pull(c)[0])(cotangents)

    cotangents = np.random.default_rng(2).normal(size=(3, CHANNELS * 6 * 5)).astype(np.float32)
    y, ours, z, reference = pulled(params, x, cotangents)
    assert_close(y, z, relative=1e-5)
    assert ours.dtype == np.float32
    assert_close(ours, reference, relative=3e-2 if form in COARSE else 1e-5)
    if form in COARSE:
        assert np.linalg.norm(ours - reference) > 1e-5 * np.linalg.norm(reference)


def equations(squeeze, form):
    params = parameters(1)

    def steps(params, x):
        return prepare(lambda x: block(params, x, 1, squeeze), placed(x), form=form)[1]

    return jax.eval_shape(steps, params, jnp.zeros((1, 3, 12, 10))).program.eqns


def test_normalizations_cost_a_cotangent_nothing():
    names = [eqn.primitive.name for eqn in equations(False, NATIVE)]
    assert names.count("mul") == 2  # the two activations
    assert names.count("conv_general_dilated") == 3  # and the stem's, as planes


def test_a_factor_that_is_no_parameter_stays_out_of_the_kernels():
    kernels = [e.invars[1] for e in equations(True, NATIVE) if "conv" in e.primitive.name]
    made = {v for e in equations(True, NATIVE) if e.primitive.name != "rev" for v in e.outvars}
    assert len(kernels) == 3
    assert made.isdisjoint(kernels)


@pytest.mark.parametrize("form", COARSE, ids=str)
def test_products_are_taken_in_the_type_that_is_asked_for(form):
    products = [e for e in equations(False, form) if e.primitive.name.startswith(("conv_g", "dot"))]
    assert products
    assert {v.aval.dtype for e in products for v in e.invars} == {jnp.dtype(jnp.bfloat16)}


converted = partial(single.function, x=np.zeros((1, 4, 12, 10), np.float32))
ACTIVATIONS = {
    "jax.nn.relu": jax.nn.relu,
    "Relu": converted("Relu"),
    "LeakyRelu": converted("LeakyRelu"),
    "PRelu": converted("PRelu", slope=np.linspace(0, 1, 4, dtype=np.float32).reshape(4, 1, 1)),
    "Clip": converted("Clip", min=np.float32(-1), max=np.float32(1)),
    "Clip to": converted("Clip", max=np.float32(1)),
}


@pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_of_an_activation_a_byte_is_kept_for_each_number(activation):
    x = placed(jnp.float32(np.random.default_rng(3).normal(size=(1, 4, 12, 10))))
    step = jax.eval_shape(lambda x: prepare(activation, placed(x))[1], x.array)
    assert [residual.dtype for residual in step.residuals] == [jnp.dtype(bool)]
    y, step = prepare(activation, x)
    cotangent = jnp.cos(y.plain)
    expected = jax.vjp(activation, x.array)[1](cotangent)[0]
    np.testing.assert_array_equal(step(cotangent.transpose(y.order)), expected)

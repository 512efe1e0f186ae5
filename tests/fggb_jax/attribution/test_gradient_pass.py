import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fggb_jax as fx
import networks
import tiny
import twin
from fggb_jax.attribution import comparison, gradient_pass, ready
from fggb_jax.attribution.comparison import Comparison
from fggb_jax.attribution.gradient_pass import TOGETHER
from tolerances import assert_close

CARD = fx.Card("small", size=(112, 112))


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch):
    monkeypatch.setattr(comparison, "on_cpu", lambda: True)


def images(model, count):
    return np.random.default_rng(0).random((count, *model.card.size, 3), np.float32)


def pulled(model, faces, **how):
    """(cosines, gradients) of faces by a model that is made ready."""
    c = Comparison(model, *map(jnp.asarray, images(model, 2)), 0.5, prepared=True, **how)
    found = c.gradients(len(faces), lambda part: jnp.asarray(faces[part]))
    cosines, gradients = zip(*found, strict=True)
    assert c.forwards == c.backwards == len(faces)
    return np.concatenate(cosines), np.concatenate(gradients)


def by_jax(model, faces):
    """The same by JAX's own derivative of the model as it is."""
    z = model(jnp.asarray(images(model, 2)[1]))

    def cosine(x):
        y = model(x)
        return y @ z / jnp.linalg.norm(y) / jnp.linalg.norm(z)

    both = [jax.jit(jax.value_and_grad(cosine))(jnp.asarray(face)) for face in faces]
    return tuple(np.stack(column) for column in zip(*both, strict=True))


# Sums of the same products in another order; F(4,3) loses one more digit of float32's seven.
@pytest.mark.parametrize("make", [tiny.model, twin.model])
@pytest.mark.parametrize("count", [1, TOGETHER, 4 * TOGETHER + 1])
def test_gradients_are_jaxs_in_their_order(make, count):
    model = make()
    faces = images(model, count + 2)[2:]
    for ours, jaxs in zip(pulled(model, faces), by_jax(model, faces), strict=True):
        assert_close(ours, jaxs, relative=1e-5)


def test_winograd_and_folded_kernels_pull_back_as_the_network_does():
    model = fx.load_model(networks.iresnet((1, 1, 1, 1), width=32, dimension=64), card=CARD)
    faces = images(model, 5)[2:]
    (cosines, gradients), (same, theirs) = pulled(model, faces), by_jax(model, faces)
    assert_close(cosines, same, relative=1e-5)
    # Where a ReLU's argument is nearly 0, its mask is a matter of rounding: a few pixels differ.
    assert np.linalg.norm(gradients - theirs) < 5e-3 * np.linalg.norm(theirs)
    assert np.mean(np.abs(gradients - theirs) < 1e-5 * np.abs(theirs).max()) > 0.98
    (functions,) = ready._READY[model].values()
    kernels = sum(x.nbytes for x in jax.tree.leaves(functions))
    assert kernels > 2.5 * sum(x.nbytes for x in jax.tree.leaves(model))


def test_threads_change_no_bit(monkeypatch):
    found = []
    for cores in (1, 2, 5):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        model = tiny.model()
        found.append(pulled(model, images(model, 9)))
    for one in found[1:]:
        for a, b in zip(found[0], one, strict=True):
            np.testing.assert_array_equal(a, b)


def test_any_jax_function_is_made_ready():
    """Without convolutions, with constants of its own, with a part that no pixel reaches."""
    scale = np.linspace(1, 2, 5, dtype=np.float32)

    def embed(weights, x):
        z = jax.nn.relu(jnp.tensordot(x, weights, 3)) * scale
        return z.at[0].set(3)

    weights = np.random.default_rng(1).normal(size=(*tiny.SIZE, 3, 5)).astype(np.float32)
    model = fx.FaceModel(embed, weights, tiny.model().card)
    faces = images(model, 5)
    for ours, jaxs in zip(pulled(model, faces), by_jax(model, faces), strict=True):
        assert_close(ours, jaxs, relative=1e-5)


def test_a_budget_too_small_for_kernels_takes_the_walk(monkeypatch):
    model = twin.model()
    faces = images(model, 3)
    expected = pulled(model, faces)
    monkeypatch.setattr(ready, "Ready", None)  # fails whoever makes one
    monkeypatch.setattr(ready, "_READY", {model: {}})
    monkeypatch.setattr(ready, "plan_threads", refuse)
    for ours, theirs in zip(pulled(model, faces), expected, strict=True):
        assert_close(ours, theirs, relative=1e-5)


def refuse(*_):
    raise fx.OptionError("no room")


def test_two_models_of_one_structure_share_the_programs():
    before = gradient_pass._traced.cache_info().misses
    first, second = (
        fx.FaceModel(twin.network, jax.tree.map(lambda w, s=s: w * s, twin.PARAMS), twin.CARD)
        for s in (1.0, 0.9)
    )
    found = [pulled(model, images(model, 2))[1] for model in (first, second)]
    assert gradient_pass._traced.cache_info().misses <= before + 1
    assert not np.allclose(*found)
    assert_close(found[1], by_jax(second, images(second, 2))[1], relative=1e-5)

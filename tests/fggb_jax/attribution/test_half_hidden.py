import jax.numpy as jnp
import numpy as np
import pytest

import fggb_jax as fx
import twin
from fggb_jax.attribution import comparison
from fggb_jax.attribution.perturbation import blurred
from fggb_jax.attribution.rise import random_grids
from tolerances import assert_close


@pytest.fixture(scope="module")
def faces():
    return twin.pair()


def half_hidden(faces, **options):
    return fx.explain(twin.model(), *faces, method="half_hidden", **{"cells": 3, **options})


def of_cosine(u, size=(12, 10)):
    """A recognizer whose cosine to an all-white partner is u(params, image)."""

    def embed(params, x):
        value = u(params, x)
        pair = jnp.stack([value, jnp.sqrt(1 - value**2)])
        return jnp.where(x.min() == 1, jnp.float32([1, 0]), pair)

    card = fx.Card("of-cosine", size=size, layout="HWC", threshold=0.3)
    return lambda params: fx.FaceModel(embed, jnp.asarray(params, jnp.float32), card)


def test_of_a_linear_cosine_by_hand():
    """Whatever the masks: they and their complements hide each place once."""
    weights = np.random.default_rng(2).normal(0, 0.003, (12, 10, 3)).astype(np.float32)
    model = of_cosine(lambda w, x: (w * x).sum())(weights)
    image = np.random.default_rng(3).random((12, 10, 3), dtype=np.float32)
    e = fx.explain(
        model, image, np.ones_like(image), "half_hidden", cells=3, rounds=2, swap=2.0, sigma=0
    )
    hidden = np.asarray(blurred(jnp.asarray(image), 1.2))
    assert_close(e.probe.signed, (weights * ((image - hidden) + 2 * (image - 1))).sum(-1))


def test_by_pytorch(faces):
    torch = pytest.importorskip("torch")
    image, partner = faces
    _, of, _ = twin.torch_cosine(*faces)

    def gradient(x):
        x = torch.tensor(x.transpose(2, 0, 1)[None], requires_grad=True)
        return twin.from_torch(torch.autograd.grad(of(x).sum(), x)[0])

    hidden = np.asarray(blurred(jnp.asarray(image), 2.0))
    expected = 0.7 * ((image - partner) * gradient((image + partner) / 2)).sum(-1)
    for mask in random_grids(twin.SIZE, 3, 3, 0.5, 5)[:]:
        for m in (mask, 1 - mask):
            mixed = image + m[..., None] * (hidden - image)
            expected += m * ((image - hidden) * gradient(mixed)).sum(-1) / 3
    e = half_hidden(faces, rounds=3, swap=0.7, blur=2.0, sigma=0, seed=5)
    assert_close(e.probe.signed, expected)


def test_it_finds_what_the_face_makes_up_for():
    """Two features either of which is enough: at the face the cosine is flat in both."""

    def saturated(_, x):
        first, second = x[1:4, 1:4].mean(), x[8:11, 6:9].mean()
        return 0.9 * jnp.tanh(8 * (first + second))

    image = np.full((12, 10, 3), 0.0, np.float32)
    image[1:4, 1:4] = image[8:11, 6:9] = 1
    pair = image, np.ones_like(image)
    model = of_cosine(saturated)(0.0)
    options = {"cells": 3, "rounds": 8, "swap": 0, "sigma": 0, "blur": 3}
    found = fx.explain(model, *pair, "half_hidden", **options).probe.signed
    gradient = fx.explain(model, *pair, "input_x_gradient").probe.signed
    for rows, columns in ((slice(1, 4), slice(1, 4)), (slice(8, 11), slice(6, 9))):
        assert found[rows, columns].sum() > 1000 * abs(gradient[rows, columns].sum())


def test_without_the_partner_a_gradient_less(faces):
    for swap, count in ((0, 6), (0.5, 7)):
        c = comparison.Comparison(twin.model(), *map(jnp.asarray, faces), twin.T)
        fx.attribution.half_hidden.half_hidden(c, rounds=3, cells=3, swap=swap)
        assert c.backwards == count


def test_a_smooth_map_keeps_its_sum(faces):
    raw, smoothed = (half_hidden(faces, sigma=sigma).probe.signed for sigma in (0, 2))
    np.testing.assert_allclose(raw.sum(), smoothed.sum(), rtol=1e-4, atol=1e-6)
    assert np.abs(np.diff(smoothed, axis=0)).max() < np.abs(np.diff(raw, axis=0)).max()


def test_batches_do_not_change_it(faces, monkeypatch):
    one_by_one = half_hidden(faces).probe.signed
    monkeypatch.setattr(comparison, "on_cpu", lambda: False)
    monkeypatch.setattr(comparison, "plan_images", lambda *_: 4)
    assert_close(half_hidden(faces).probe.signed, one_by_one)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rounds": 0}, "rounds is 0; give a whole number, 1 or more"),
        ({"cells": 11}, "cells is 11; give a whole number from 1 to 10"),
        ({"swap": -1}, "swap is -1; give a number, 0 or more"),
        ({"blur": -1}, "blur is -1; give a number, 0 or more"),
        ({"sigma": -1}, "sigma is -1; give a number, 0 or more"),
        ({"seed": -1}, "seed is -1; give a whole number, 0 or more"),
    ],
)
def test_options_that_make_no_sense(faces, options, message):
    with pytest.raises(fx.OptionError, match=message):
        half_hidden(faces, **options)

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fggb_jax as fx
import tiny
from fggb_jax.attribution import comparison
from fggb_jax.attribution.comparison import Comparison, unit
from tolerances import assert_close


def made(**keywords):
    faces = jnp.asarray(tiny.faces(2), jnp.float32) / 255
    return Comparison(tiny.model(), *faces, 0.3, **keywords)


def cosine(model, image, target):
    z = model(image)
    return jnp.sum(z * target) / jnp.linalg.norm(z)


def test_the_cosine_is_the_pairs():
    e = fx.explain(tiny.model(), *tiny.faces(2))
    assert_close(made().cosine, np.float64(e.cosine), relative=1e-6)


def test_cosines_of_changed_images_come_batch_by_batch():
    c, images = made(), np.random.default_rng(0).random((37, *tiny.SIZE, 3), np.float32)
    seen = []
    c.progress = lambda done, total: seen.append((done, total))
    found = c.cosines(37, lambda part: jnp.asarray(images[part]))
    expected = unit(np.asarray(c.model.embed(images))) @ c.target
    assert_close(found, expected, relative=1e-6)
    assert seen == [(16, 37), (32, 37), (37, 37)]
    assert (c.forwards, c.backwards) == (37, 0)


def test_nothing_asked_is_nothing_embedded():
    assert made().embed(0, lambda part: None).shape == (0, tiny.N)


def test_masks_hide_as_much_as_they_say():
    c = made()
    masks = np.zeros((3, *tiny.SIZE), np.float32)
    masks[1], masks[2, :, :4] = 1, 0.5
    images = np.repeat(np.asarray(c.image)[None], 3, 0)
    images[1] = 0.25
    images[2, :, :4] = 0.5 * images[2, :, :4] + 0.125
    expected = c.cosines(3, lambda part: jnp.asarray(images[part]))
    assert_close(c.masked_cosines(masks, 0.25), expected, relative=1e-6)
    assert_close(expected[0], np.float32(c.cosine), relative=1e-6)


@pytest.mark.parametrize("on_cpu", [True, False])
def test_gradients_are_jaxs_own_on_either_path(on_cpu, monkeypatch):
    monkeypatch.setattr(comparison, "on_cpu", lambda: on_cpu)
    c, images = made(), jnp.asarray(np.random.default_rng(0).random((3, *tiny.SIZE, 3)), "float32")
    target = np.random.default_rng(1).normal(size=tiny.N).astype(np.float32)
    for asked in (None, target):
        batches = list(c.gradients(3, lambda part: images[part], asked))
        values, gradients = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        wanted = jnp.asarray(c.target if asked is None else asked)
        for image, value, gradient in zip(images, values, gradients, strict=True):
            expected = jax.value_and_grad(cosine, 1)(c.model, image, wanted)
            assert_close(value, np.asarray(expected[0]), relative=1e-5)
            assert_close(gradient, expected[1], relative=1e-5)
    assert (c.forwards, c.backwards) == (6, 6)


def test_a_budget_bounds_the_batch_and_not_the_result():
    images = np.random.default_rng(0).random((20, *tiny.SIZE, 3), np.float32)
    sizes = []

    def make(part):
        sizes.append(part.stop - part.start)
        return jnp.asarray(images[part])

    small = made(memory=9000).cosines(20, make)
    assert max(sizes) < 16
    assert_close(small, made().cosines(20, make), relative=1e-6)
    with pytest.raises(fx.OptionError, match="one image of this model needs"):
        made(memory=10).cosines(20, make)


def test_a_face_without_an_embedding_is_an_error_and_a_hidden_one_is_like_nothing():
    class Dark:
        card = tiny.model().card

        def embed(self, images):
            return np.asarray(images).mean((1, 2))

    dark, light = jnp.zeros((*tiny.SIZE, 3)), jnp.ones((*tiny.SIZE, 3))
    with pytest.raises(fx.ModelError, match="is zero or not finite for these faces"):
        _ = Comparison(Dark(), dark, light, 0.3).cosine
    c = Comparison(Dark(), light, light, 0.3)
    assert c.cosines(1, lambda part: dark[None]).tolist() == [0]

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


def looked_at(sizes):
    """A black box that notes how many images it is given at once."""

    def embed(images):
        sizes.append(len(images))
        return images.reshape(len(images), -1)[:, : tiny.N]

    return fx.BlackBox(embed, tiny.model().card)


def test_few_shapes_are_asked_for_whatever_the_counts():
    """Powers of two, else as many as the plan has: other counts are padded, without effect."""
    sizes = []
    faces = jnp.asarray(tiny.faces(2), jnp.float32) / 255
    c = Comparison(looked_at(sizes), *faces, 0.3)
    assert c.cosine
    sizes.clear()
    images = np.random.default_rng(0).random((40, *tiny.SIZE, 3), np.float32)
    expected = unit(images.reshape(40, -1)[:, : tiny.N]) @ c.target
    for count in range(1, 41):
        found = c.cosines(count, lambda part, n=count: images[:n][part])
        assert_close(found, expected[:count], relative=1e-6)
    assert set(sizes) == {1, 2, 4, 8, 16}
    assert c.forwards == sum(range(1, 41))


def test_gradients_are_padded_likewise(monkeypatch):
    monkeypatch.setattr(comparison, "on_cpu", lambda: False)
    pulled, sizes = comparison._pulled_together, []

    def noting(model, images, target):
        sizes.append(len(images))
        return pulled(model, images, target)

    monkeypatch.setattr(comparison, "_pulled_together", noting)
    c, images = made(), jnp.asarray(np.random.default_rng(0).random((19, *tiny.SIZE, 3)), "float32")
    ((values, gradients),) = c.gradients(16, lambda part: images[part])
    for count in (1, 3, 5, 7, 19):
        batches = list(c.gradients(count, lambda part, n=count: images[:n][part]))
        found = [np.concatenate(parts)[:16] for parts in zip(*batches, strict=True)]
        assert sum(len(each) for each, _ in batches) == count
        assert_close(found[0], values[:count], relative=1e-5)
        assert_close(found[1], gradients[:count], relative=1e-5)
    assert set(sizes) == {1, 4, 8, 16}
    assert (c.forwards, c.backwards) == (51, 51)


def test_a_walk_is_planned_once(monkeypatch):
    plan, calls = comparison.plan_walk, []
    monkeypatch.setattr(comparison, "plan_walk", lambda *a: calls.append(a) or plan(*a))
    monkeypatch.setattr(comparison, "on_cpu", lambda: True)
    c = made()
    list(c.gradients(3, lambda part: c.image[None]))
    c.gradient()
    assert len(calls) == 1


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


def test_an_embedding_of_zero_is_like_nothing():
    card = fx.Card("difference", size=(4, 5), layout="HWC", threshold=0.3)
    weights = np.random.default_rng(0).normal(size=(4, 5, 3, 6)).astype(np.float32)
    model = fx.FaceModel(lambda w, x: jnp.tensordot(x - 0.5, w, 3), jnp.asarray(weights), card)
    face = np.random.default_rng(1).random((4, 5, 3), dtype=np.float32)
    c = Comparison(model, jnp.asarray(face), jnp.asarray(face[::-1].copy()), 0.3)
    stack = jnp.stack([jnp.full((4, 5, 3), 0.5), c.image])
    ((values, gradients),) = c.gradients(2, lambda part: stack[part])
    assert values[0] == 0
    assert not np.asarray(gradients)[0].any()
    np.testing.assert_allclose(values[1], c.cosine, rtol=1e-5)

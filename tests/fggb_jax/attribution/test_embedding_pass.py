import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fggb_jax as fx
import networks
import tiny
import twin
from fggb_jax.attribution import embedding_pass, ready
from fggb_jax.attribution.embedding_pass import FEW, TOGETHER, embed_many
from fggb_jax.explain import Request
from tolerances import assert_close

CARD = fx.Card("small", size=(112, 112))


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch):
    monkeypatch.setattr(embedding_pass, "on_cpu", lambda: True)


def images(count, size=tiny.SIZE):
    return np.random.default_rng(0).random((count, *size, 3), np.float32)


def embedded(model, faces, **how):
    return embed_many(model, len(faces), lambda part: faces[part], prepared=True, **how)


def unprepared(monkeypatch):
    """Have a model that is made ready fail the test."""
    monkeypatch.setattr(ready, "Ready", None)


# Sums of the same products in another order; F(4,3) loses one more digit of float32's seven.
@pytest.mark.parametrize(("make", "relative"), [(tiny.model, 1e-6), (twin.model, 1e-6)])
@pytest.mark.parametrize("count", [FEW + 1, 4 * TOGETHER, 4 * TOGETHER + 3, 50])
def test_embeddings_are_the_models_in_their_order(make, relative, count):
    model = make()
    faces = images(count, model.card.size)
    assert_close(embedded(model, faces), model.embed(faces), relative=relative)


def test_winograd_and_folded_kernels_embed_as_the_network_does():
    proto = networks.iresnet((1, 1, 1, 1), width=32, dimension=64)
    model = fx.load_model(proto, card=CARD)
    faces = images(FEW + 1, CARD.size)
    assert_close(embedded(model, faces), model.embed(faces), relative=1e-5)
    (functions,) = ready._READY[model].values()
    kernels = sum(x.nbytes for x in jax.tree.leaves(functions))
    assert kernels > 1.5 * sum(x.nbytes for x in jax.tree.leaves(model))


def test_methods_and_judges_share_what_is_made_ready():
    """The settings of both come to the same; kernels twice would be memory and time lost."""
    model = tiny.model()
    faces = images(FEW + 1)
    plain = embedded(model, faces)
    with Request.of(model, "occlusion", 0.5, "highest", None, {}).settings():
        within = embedded(model, faces)
    np.testing.assert_array_equal(plain, within)
    assert len(ready._READY[model]) == 1


def test_threads_change_no_bit(monkeypatch):
    faces, found = images(30), []
    for cores in (1, 2, 5):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        found.append(embedded(tiny.model(), faces))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_any_jax_function_is_made_ready():
    """Without convolutions, with JAX's own derivatives, with constants of its own."""
    scale = np.linspace(1, 2, 5, dtype=np.float32)

    def embed(weights, x):
        return jax.nn.relu(jnp.tensordot(x, weights, 3)) * scale

    weights = np.random.default_rng(1).normal(size=(*tiny.SIZE, 3, 5)).astype(np.float32)
    model = fx.FaceModel(embed, weights, tiny.model().card)
    faces = images(20)
    assert_close(embedded(model, faces), model.embed(faces), relative=1e-6)


def test_pixels_are_taken_as_embed_takes_them():
    model, faces = tiny.model(), tiny.faces(20)
    assert_close(embedded(model, faces), model.embed(faces), relative=1e-6)
    with pytest.raises(fx.ImageError, match="image values lie in"):
        embedded(model, 2 * images(20))


def test_few_images_go_the_models_own_way(monkeypatch):
    unprepared(monkeypatch)
    model, faces = tiny.model(), images(FEW)
    np.testing.assert_array_equal(embedded(model, faces), model.embed(faces))


def test_an_accelerator_goes_the_models_own_way(monkeypatch):
    unprepared(monkeypatch)
    monkeypatch.setattr(embedding_pass, "on_cpu", lambda: False)
    faces = images(20)
    assert_close(embedded(tiny.model(), faces), tiny.model().embed(faces), relative=1e-6)


def test_a_black_box_is_given_whole_batches_one_at_a_time(monkeypatch):
    unprepared(monkeypatch)
    sizes = []

    def embed(batch):
        sizes.append(len(batch))
        return batch.mean((1, 2))

    embedded(fx.BlackBox(embed, tiny.model().card), images(40))
    assert sizes == [16, 16, 16]


def test_without_room_for_kernels_the_network_is_run_as_it_is(monkeypatch):
    model = fx.load_model(networks.iresnet((1, 1, 1, 1), width=32, dimension=64), card=CARD)
    forms = []
    traced = embedding_pass._traced
    monkeypatch.setattr(embedding_pass, "_traced", lambda *a: forms.append(a[3]) or traced(*a))
    sizes = [_kernels(model, m << 20) for m in (400, 40, 33)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[1] > sizes[2] > 0
    assert _kernels(model, 4 << 20) == 0
    assert [form.winograd for form in forms[-3:]] == [4, 2, 0]


def _kernels(model, budget):
    """The bytes of the kernels that such a budget has room for."""
    made = ready.made_ready(model, embedding_pass._traced, budget)
    held = 0 if made is None else sum(x.nbytes for x in jax.tree.leaves(made.functions))
    assert held <= budget
    return held


def test_a_model_is_made_ready_once_and_forgotten_with_it():
    model, faces = tiny.model(), images(20)
    before = len(ready._READY)
    embedded(model, faces)
    made = [*ready._READY[model].values()]
    embedded(model, faces)
    assert [*ready._READY[model].values()] == made
    del model, made
    assert len(ready._READY) == before


def test_each_budget_has_its_own_threads(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    model = tiny.model()

    def threads(budget):
        return ready.made_ready(model, embedding_pass._traced, budget).threads

    # 5.4 KB of kernels, which may take a quarter of a budget, and 6.3 KB for each thread.
    assert [threads(budget) for budget in (100_000, 22_000, 100_000)] == [8, 2, 8]
    assert len(ready._READY[model]) == 1


def test_models_of_one_structure_share_a_program():
    first, second = tiny.model(0), tiny.model(1)
    faces = images(20)
    assert_close(embedded(first, faces), first.embed(faces), relative=1e-6)
    assert_close(embedded(second, faces), second.embed(faces), relative=1e-6)
    assert ready._READY[first].keys() == ready._READY[second].keys()


def test_progress_counts_images(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    seen = []
    embedded(tiny.model(), images(37), progress=lambda *at: seen.append(at))
    assert seen == [(16, 37), (32, 37), (37, 37)]

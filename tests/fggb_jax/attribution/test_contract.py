"""What every method promises, for every kind of model and image."""

import jax.numpy as jnp
import numpy as np
import pytest

import fggb_jax as fx
import tiny
from fggb_jax.attribution import registry
from tolerances import assert_close

# Few passes, so that all of them are tried on everything.
CHEAP = {
    "half_hidden": {"rounds": 1, "cells": 3},
    "smoothgrad": {"samples": 3},
    "integrated_gradients": {"steps": 3},
    "fame": {"steps": 2},
}
FORWARDS = 24
METHODS = fx.methods()
BLACK_BOX = [name for name in METHODS if not registry.find(name).gradients]


def options(name):
    known = registry.find(name).options
    return {**({"forwards": FORWARDS} if "forwards" in known else {}), **CHEAP.get(name, {})}


def oblong(seed=2):
    """One stage, higher than wide, channels first: another kind of model than `tiny`'s."""
    rng = np.random.default_rng(seed)
    params = {
        "a": rng.normal(size=(6, 3, 3, 3)).astype(np.float32) / 5,
        "b": rng.normal(size=(6, 7)).astype(np.float32),
    }

    def features(p, x):
        windows = jnp.stack([x[:, i : i + 10, j : j + 7] for i in range(3) for j in range(3)])
        return jnp.tanh(jnp.tensordot(windows, p["a"].reshape(6, 3, 9), [[0, 1], [2, 1]]))

    def network(p, x):
        return head(p, features(p, x))

    def head(p, x):
        return jnp.tanh(x).mean((0, 1)) @ p["b"]

    network.stages = (features, head)
    card = fx.Card("oblong", size=(12, 9), mean=(0.5,) * 3, std=(0.25,) * 3, threshold=0.2)
    return fx.FaceModel(network, params, card)


MODELS = {"tiny": tiny.model(), "oblong": oblong()}


def images(model, kind):
    size = (*model.card.size, 3)
    rng = np.random.default_rng(3)
    if kind == "uint8":
        return rng.integers(0, 256, (2, *size), dtype=np.uint8)
    if kind == "float":
        return rng.random((2, *size))
    if kind == "flat":
        return np.stack([np.full(size, 0.8), np.full(size, 0.2)])
    return np.repeat(rng.random((1, *size)), 2, axis=0)  # "equal"


def explain(name, model, pair, threshold=0.25, **more):
    return fx.explain(model, *pair, method=name, threshold=threshold, **{**options(name), **more})


def signed(e):
    return np.stack([e.probe.signed, e.gallery.signed])


def test_all_that_the_interface_names_are_there():
    names = (
        "fggb xssab corrrise xface minplus fame gradcam gradient input_x_gradient smoothgrad "
        "integrated_gradients lime occlusion rise srise partner_swap frequency centre random "
        "image_mean"
    )
    assert set(names.split()) <= set(METHODS)


@pytest.mark.parametrize(
    ("which", "kind"),
    [("tiny", "uint8"), ("oblong", "float"), ("oblong", "flat"), ("tiny", "equal")],
)
@pytest.mark.parametrize("name", METHODS)
def test_maps_are_finite_split_by_sign_and_the_same_twice(name, which, kind):
    model = MODELS[which]
    pair = images(model, kind)
    e = explain(name, model, pair)
    for face in (e.probe, e.gallery):
        for values in (face.signed, face.similarity, face.dissimilarity, face.p, face.q):
            assert values.shape == model.card.size
            assert values.dtype == np.float32
            assert np.isfinite(values).all()
        np.testing.assert_array_equal(face.similarity, face.signed.clip(min=0))
        np.testing.assert_array_equal(face.dissimilarity, (-face.signed).clip(min=0))
    np.testing.assert_array_equal(signed(e), signed(explain(name, model, pair)))
    assert e.provenance["method"] == name
    assert e.provenance["options"].keys() == registry.find(name).options.keys()


@pytest.mark.parametrize("which", MODELS)
@pytest.mark.parametrize("name", METHODS)
def test_turning_the_pair_round_turns_the_maps(name, which):
    model = MODELS[which]
    pair = images(model, "float")
    there, back = explain(name, model, pair), explain(name, model, pair[::-1])
    assert back.cosine == pytest.approx(there.cosine, abs=1e-6)
    assert_close(signed(back)[::-1], signed(there), relative=1e-4)


@pytest.mark.parametrize("name", METHODS)
def test_a_threshold_can_be_moved_or_says_that_it_cannot(name):
    model, pair = MODELS["tiny"], images(MODELS["tiny"], "float")
    e, other = explain(name, model, pair, 0.25), explain(name, model, pair, 0.6)
    if registry.find(name).movable:
        assert_close(signed(e.at(0.6)), signed(other), relative=1e-5)
    else:
        with pytest.raises(fx.OptionError, match=r"explain the pair again with threshold=0\.6"):
            e.at(0.6)


@pytest.mark.parametrize("name", METHODS)
def test_what_has_no_sign_takes_the_decisions(name):
    if registry.find(name).signed:
        return
    model, pair = MODELS["tiny"], images(MODELS["tiny"], "float")
    accepted, rejected = explain(name, model, pair, -1.0), explain(name, model, pair, 1.0)
    assert (accepted.decision, rejected.decision) == ("accept", "reject")
    assert not accepted.probe.dissimilarity.any()
    assert not rejected.probe.similarity.any()


@pytest.mark.parametrize("name", METHODS)
def test_a_small_budget_changes_no_map(name):
    model, pair = MODELS["tiny"], images(MODELS["tiny"], "float")
    budget = 12_000  # a few images, or cotangents, at once
    assert_close(
        signed(explain(name, model, pair, memory=budget)),
        signed(explain(name, model, pair)),
        relative=1e-4,
    )


@pytest.mark.parametrize("name", METHODS)
def test_pages_and_figures_can_be_made_of_all(name, tmp_path):
    e = explain(name, MODELS["tiny"], images(MODELS["tiny"], "uint8"))
    e.to_html(tmp_path / "pair.html")
    e.figure().savefig(tmp_path / "pair.png")
    e.save(tmp_path / "pair.npz")
    np.testing.assert_array_equal(signed(fx.Explanation.load(tmp_path / "pair.npz")), signed(e))


@pytest.mark.parametrize("name", BLACK_BOX)
def test_methods_without_gradients_explain_black_boxes_alike(name):
    model, pair = MODELS["oblong"], images(MODELS["oblong"], "uint8")
    box = fx.BlackBox(lambda x: np.asarray(model.embed(x)), model.card)
    np.testing.assert_array_equal(
        signed(explain(name, box, pair)), signed(explain(name, model, pair))
    )


@pytest.mark.parametrize("name", METHODS)
def test_many_pairs_are_explained_as_one(name):
    model = MODELS["tiny"]
    faces = tiny.faces(3)
    given = {"method": name, "threshold": 0.25, **options(name)}
    many = list(fx.explain_pairs(model, faces, [(0, 1), (0, 2)], **given))
    for e, (a, b) in zip(many, [(0, 1), (0, 2)], strict=True):
        one = fx.explain(model, faces[a], faces[b], **given)
        assert_close(signed(e), signed(one), relative=1e-5)

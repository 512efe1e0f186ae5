"""Estimated norms: where they must be exact, against the formula by hand, and what is refused."""

import dataclasses
import json
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fggb_jax as fx
from fggb_jax.attribution import norms as module
from fggb_jax.data import samples
from tiny import curved, curved_params
from tolerances import assert_close, cosine_gap

SIZE, N, T = (7, 6), 23, 0.3
ESTIMATES = ("equal", "calibrated", "top")


@cache  # one model, one compilation
def linear(norms, card_norms=None):
    """A model whose Jacobian is constant, with orthogonal rows of the given norms."""
    rng = np.random.default_rng(0)
    unit = np.linalg.qr(rng.normal(size=(SIZE[0] * SIZE[1] * 3, N)))[0]
    w = jnp.asarray((unit * norms).reshape(*SIZE, 3, N), jnp.float32)
    card = fx.Card("linear", SIZE, layout="HWC", threshold=T, norms=card_norms)
    return fx.FaceModel(project, w, card)


def project(w, x):
    return jnp.tensordot(x, w, 3)


UNEQUAL = tuple(np.random.default_rng(2).uniform(1, 3, N).tolist())


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(0)
    params = curved_params(rng, SIZE, 16, N)
    norms = tuple(rng.uniform(1, 2, N).tolist())
    card = fx.Card("curved", SIZE, layout="HWC", threshold=T, norms=norms, norms_source="a study")
    return fx.FaceModel(curved, params, card)


@pytest.fixture(scope="module")
def pair():
    return np.random.default_rng(1).random((2, *SIZE, 3), dtype=np.float32)


def signed(model, pair, norms, **options):
    return fx.explain(model, *pair, gradient="signed", norms=norms, **options)


def assert_same_maps(ours, theirs, relative=None):
    for face in ("probe", "gallery"):
        for kind in ("p", "q"):
            u, v = (np.asarray(getattr(getattr(e, face), kind)) for e in (ours, theirs))
            assert_close(u, v, relative)


# Where the estimate is no estimate


@pytest.mark.parametrize("norms", [*ESTIMATES, [2.5] * N])
def test_equal_norms_make_every_estimate_exact(pair, norms):
    model = linear((2.5,) * N, card_norms=(1.0,) * N)
    assert_same_maps(signed(model, pair, norms), signed(model, pair, "exact"))


@pytest.mark.parametrize("norms", ["calibrated", "top"])
def test_the_cards_norms_need_the_right_proportions_alone(pair, norms):
    model = linear(UNEQUAL, card_norms=tuple(7 * x for x in UNEQUAL))
    exact = signed(model, pair, "exact")
    assert_same_maps(signed(model, pair, norms), exact)
    assert cosine_gap(signed(model, pair, "equal").probe.p, exact.probe.p) > 1e-3


def test_given_norms_are_taken_as_they_are(pair):
    model = linear(UNEQUAL)
    exact = signed(model, pair, "exact")
    assert_same_maps(signed(model, pair, UNEQUAL), exact)
    half = signed(model, pair, 2 * np.array(UNEQUAL))
    assert_close(2 * half.probe.p, exact.probe.p)


def test_a_calibrated_linear_model_is_exact_from_end_to_end(pair):
    model = linear(UNEQUAL)
    calibrated = fx.calibrate_norms(model, pair)
    exact = signed(model, pair, "exact")
    assert_same_maps(signed(calibrated, pair, "calibrated"), exact, relative=1e-3)  # 4 digits


# Against the formula by hand


def jacobian(model, image):
    with jax.enable_x64(True):
        params = jax.tree.map(np.float64, model.params)
        f = lambda x: model.function(params, x)  # noqa: E731
        return np.asarray(jax.jacrev(f)(np.float64(image)))


def norms_by_hand(kind, j, w, card_norms):
    """The definition, apart from the library: norms of the channels of one image."""
    true = np.sqrt((j**2).sum((1, 2, 3)))
    shape = np.ones(N) if kind == "equal" else np.asarray(card_norms)
    if kind == "top":
        heavy = np.argsort(-np.abs((w - T / N) / shape))[: -(-N // 10)]
        size = np.sqrt(np.mean((true[heavy] / shape[heavy]) ** 2))
        found = size * shape
        found[heavy] = true[heavy]
        return found
    probes = []
    for signs in (np.ones(N), (-1.0) ** np.arange(N)):
        probes.append(np.sum(np.tensordot(signs / shape, j, 1) ** 2) / N)
    return shape * np.sqrt(np.mean(probes))


@pytest.mark.parametrize("kind", ESTIMATES)
def test_each_estimate_is_what_it_says(model, pair, kind):
    z = np.asarray(model.embed(pair), np.float64)
    w = z[0] * z[1] / np.linalg.norm(z[0]) / np.linalg.norm(z[1])
    e = signed(model, pair, kind)
    for image, face in zip(pair, (e.probe, e.gallery), strict=True):
        j = jacobian(model, image)
        found = norms_by_hand(kind, j, w, model.card.norms)
        assert_close(face.p, np.tensordot(w / found, j, 1).mean(-1).astype(np.float32))
        assert_close(face.q, np.tensordot(1 / found, j, 1).mean(-1).astype(np.float32) / N)


def test_the_true_norms_give_the_exact_map(model, pair):
    true = np.sqrt((jacobian(model, pair[0]) ** 2).sum((1, 2, 3)))
    e, exact = signed(model, pair, true), signed(model, pair, "exact")
    assert_close(e.probe.p, exact.probe.p)
    assert_close(e.probe.q, exact.probe.q)
    assert cosine_gap(e.gallery.p, exact.gallery.p) > 1e-4


@pytest.mark.slow
def test_on_a_real_model_the_maps_are_nearly_the_exact_ones(dlib_proto):
    model = fx.load_model("dlib-resnet-v1")
    portraits = [samples.chip(name, model.card) for name in ("obama_a", "biden")]
    exact = signed(model, portraits, "exact")
    for kind, gap in (("equal", 0.01), ("calibrated", 0.006), ("top", 0.003)):
        e = signed(model, portraits, kind)
        for ours, theirs in ((e.probe, exact.probe), (e.gallery, exact.gallery)):
            assert cosine_gap(ours.signed, theirs.signed) < gap
            assert 0.8 < np.linalg.norm(ours.signed) / np.linalg.norm(theirs.signed) < 1.25


@pytest.mark.parametrize("kind", [*ESTIMATES, "given"])
@pytest.mark.parametrize("embedding", ["raw", "normalized"])
def test_the_functional_core_gives_the_same(model, pair, kind, embedding):
    norms = np.linspace(1, 2, N) if kind == "given" else kind
    options = {"gradient": "signed", "embedding": embedding, "norms": norms}
    core = jax.jit(lambda a, b: fx.fggb(model, a, b, T, **options))(*pair)
    assert_same_maps(fx.explain(model, *pair, **options), core)
    batch = jax.vmap(lambda a, t: fx.fggb(model, a, pair[1], t, **options))
    maps = batch(pair, np.float32([T, 0.9]))
    assert_close(maps.probe.p[0], core.probe.p)
    assert_close(maps.gallery.q[0], core.gallery.q)


def test_given_norms_may_be_traced_and_differentiated(model, pair):
    energy = lambda n: (fx.fggb(model, *pair, T, gradient="signed", norms=n).probe.p ** 2).sum()  # noqa: E731
    norms = jnp.linspace(1.0, 2.0, N)
    # Twice the norms, half the map, a quarter of its energy: Euler's rule for degree −2.
    assert_close(jnp.vdot(jax.jit(jax.grad(energy))(norms), norms), -2 * energy(norms))


@pytest.mark.parametrize("kind", ESTIMATES)
def test_channels_without_gradient_leave_no_trace(model, pair, kind):
    dead = lambda params, x: curved(params, x).at[:5].multiply(0.0)  # noqa: E731
    e = signed(fx.FaceModel(dead, model.params, model.card), pair, kind)
    assert np.isfinite(e.probe.signed).all()
    assert np.any(e.probe.signed)


# The passes that are saved


@pytest.mark.parametrize(("norms", "passes"), [("exact", 23), ("equal", 3), ("calibrated", 3)])
def test_no_more_products_than_promised(model, pair, norms, passes):
    told = []
    signed(model, pair, norms, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (2 * passes, 2 * passes)
    assert module.passes(norms, N) == passes


def test_a_tenth_and_two_for_top(model, pair):
    told = []
    e = signed(model, pair, "top", progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (10, 10)
    assert e.provenance["vjps_per_image"] == 5
    assert module.passes("top", 512) == 54
    assert module.passes(np.ones(512), 512) == 2


# What a result says


def test_a_frozen_choice_stays_linear_in_the_threshold(model, pair):
    e = signed(model, pair, "top")
    moved = e.at(0.95)
    assert_close(moved.probe.signed, e.probe.p - np.float32(0.95) * e.probe.q)
    assert (
        "those of most weight at threshold 0.3 and the same at any other"
        in (moved.provenance["estimate"])
    )
    fresh = signed(model, pair, "top", threshold=0.95)
    assert cosine_gap(fresh.probe.signed, moved.probe.signed) > 1e-9


def test_provenance_names_the_estimate(model, pair):
    assert "estimate" not in signed(model, pair, "exact").provenance
    p = signed(model, pair, "equal").provenance
    assert p["options"]["norms"] == "equal"
    assert p["estimate"] == "norms of channels all equal; 3 products an image in place of 23"
    p = signed(model, pair, "calibrated").provenance
    assert (p["vjps_per_image"], p["norms_source"]) == (3, "a study")
    assert "in the card's proportions" in p["estimate"]
    e = signed(model, pair, jnp.linspace(1, 2, N))
    assert e.provenance["options"]["norms"][0] == 1.0
    assert "as given; 2 products" in e.provenance["estimate"]
    assert json.loads(json.dumps(e.to_dict()))["norms_source"] == "given"


@pytest.mark.parametrize(
    ("norms", "message"),
    [
        ("mean", "norms is 'mean'; choose one of exact, equal, calibrated, top, or give an array"),
        (np.ones((2, N)), r"norms has shape \(2, 23\); give one number for each channel"),
        (3.0, r"norms has shape \(\); give one number"),
        (np.ones(N - 1), "norms are 22 numbers, for an embedding of 23"),
        (np.zeros(N), r"norms must be positive; the least is 0\.0"),
        (np.full(N, np.nan), "norms must be finite numbers"),
        (["a"] * N, "norms must be finite numbers"),
    ],
)
def test_wrong_norms_are_named(model, pair, norms, message):
    for call in (fx.fggb, fx.explain):
        given = (T,) if call is fx.fggb else ()
        with pytest.raises(fx.OptionError, match=message):
            call(model, *pair, *given, gradient="signed", norms=norms)


@pytest.mark.parametrize("norms", [*ESTIMATES, np.ones(N)])
def test_magnitude_is_exact_or_refused(model, pair, norms):
    why = "needs gradient='signed': with gradient='magnitude' no estimate was good"
    with pytest.raises(fx.OptionError, match=why):
        fx.explain(model, *pair, norms=norms)
    with pytest.raises(fx.OptionError, match=why):
        fx.fggb(model, *pair, T, norms=norms)


@pytest.mark.parametrize("norms", ["calibrated", "top"])
def test_norms_that_are_not_there_are_asked_for(model, pair, norms):
    bare = dataclasses.replace(model.card, norms=None)
    bare = fx.FaceModel(model.function, model.params, bare)
    message = r"card of 'curved' has no norms.*`fggb models norms curved IMAGES` or `fx.calibrate_"
    with pytest.raises(fx.OptionError, match=message):
        signed(bare, pair, norms)
    with pytest.raises(fx.OptionError, match="this function has none: give a FaceModel"):
        fx.fggb(lambda x: model(x), *pair, T, gradient="signed", norms=norms)
    short = dataclasses.replace(model.card, norms=(1.0,) * 5)
    short = fx.FaceModel(model.function, model.params, short)
    with pytest.raises(fx.OptionError, match="has 5 norms, for an embedding of 23"):
        signed(short, pair, norms)

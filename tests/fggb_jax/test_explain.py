import jax.numpy as jnp
import numpy as np
import pytest

import fggb_jax as fx
import networks
from fggb_jax.data import samples
from fggb_jax.explain import library_versions

CARD = fx.Card("tiny", size=(8, 8), layout="HWC", threshold=0.5, threshold_source="a study")


@pytest.fixture(scope="module")
def tiny():
    w = jnp.asarray(np.random.default_rng(0).normal(size=(8, 8, 3, 6)), jnp.float32)
    return fx.FaceModel(lambda p, x: jnp.tanh(jnp.tensordot(x, p, 3)), w, CARD, sha256="abc")


@pytest.fixture(scope="module")
def pair():
    return np.random.default_rng(1).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def default_model(dlib_proto):
    return fx.load_model("dlib-resnet-v1")


@pytest.mark.slow  # `fggb demo` decides the same pairs, and is tried always
@pytest.mark.parametrize(
    ("gallery", "decision", "cosine"),
    [("biden", "reject", 0.8139), ("obama_b", "accept", 0.9674)],
)
def test_the_sample_portraits_are_told_apart(default_model, gallery, decision, cosine):
    faces = [samples.chip(name, default_model.card) for name in ("obama_a", gallery)]
    e = fx.explain(default_model, *faces)
    assert e.decision == decision
    assert abs(e.cosine - cosine) < 1e-3  # dlib's own descriptors give these
    assert e.threshold == default_model.card.threshold
    assert e.provenance["threshold_source"] == default_model.card.threshold_source
    share = e.probe.similarity.sum() / np.abs(e.probe.signed).sum()
    assert share > 0.5 if decision == "accept" else share < 0.5


def test_provenance_says_everything(tiny, pair):
    e = fx.explain(tiny, *pair, gradient="signed")
    p = e.provenance
    assert p["model"] == "tiny"
    assert p["model_sha256"] == "abc"
    assert p["threshold_source"] == "a study"
    assert p["options"] == {"gradient": "signed", "embedding": "raw", "norms": "exact"}
    assert p["precision"] == "highest"
    assert p["device"].startswith("cpu")
    assert {"python", "jax", "numpy", "fggb-jax"} <= p["versions"].keys()
    assert p["card"]["size"] == (8, 8)


def test_versions_of_what_is_not_there_are_said():
    found = library_versions(["numpy", "no-such-package"])
    assert found["numpy"] == np.__version__
    assert found["no-such-package"] == "not installed"


def test_images_are_kept_and_floats_accepted(tiny, pair):
    e = fx.explain(tiny, *pair)
    np.testing.assert_array_equal(e.probe_image, pair[0])
    f = fx.explain(tiny, *(pair / np.float32(255)))
    np.testing.assert_array_equal(f.gallery_image, pair[1])
    np.testing.assert_allclose(f.probe.p, e.probe.p, rtol=1e-5)


def test_equal_faces_have_cosine_one(tiny, pair):
    e = fx.explain(tiny, pair[0], pair[0])
    assert 1 - 1e-6 <= e.cosine <= 1
    assert e.pair_specific.threshold == e.cosine


def test_the_same_bits_twice(tiny, pair):
    a, b = fx.explain(tiny, *pair), fx.explain(tiny, *pair)
    np.testing.assert_array_equal(a.probe.p, b.probe.p)


def test_bfloat16_is_coarser_and_says_so(tiny, pair):
    steady = fx.FaceModel(tiny.function, tiny.params / 20, CARD)  # tanh does not saturate
    fine = fx.explain(steady, *pair)
    coarse = fx.explain(steady, *pair, precision="bfloat16")
    assert coarse.provenance["precision"] == "bfloat16"
    for kind in ("p", "q"):
        a, b = getattr(fine.probe, kind), getattr(coarse.probe, kind)
        assert b.dtype == np.float32
        assert 1e-5 < np.linalg.norm(a - b) / np.linalg.norm(a) < 0.03


@pytest.mark.slow  # test_pullback has the type on smaller networks
def test_a_converted_network_runs_in_bfloat16():
    proto = networks.iresnet((1, 1, 1, 1), width=4, dimension=8)
    card = fx.Card("small", size=(112, 112), mean=(0.5,) * 3, std=(0.5,) * 3, threshold=0.5)
    model = fx.load_model(proto, card=card)
    faces = np.random.default_rng(0).random((2, 112, 112, 3), np.float32)
    fine, coarse = (fx.explain(model, *faces, precision=p) for p in ("highest", "bfloat16"))
    assert fine.cosine == coarse.cosine  # the forward pass is the same
    for kind in ("p", "q"):
        a, b = (getattr(e.gallery, kind).ravel() for e in (fine, coarse))
        assert 0.9999 < a @ b / np.linalg.norm(a) / np.linalg.norm(b) < 1 - 1e-7


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"method": "lrp"}, fx.OptionError, "no method 'lrp'"),
        ({"colour": 1}, fx.OptionError, "no option colour"),
        ({"threshold": 2}, fx.OptionError, "threshold is 2"),
        ({"precision": "double"}, fx.OptionError, "precision is 'double'; choose one of default"),
        ({"memory": 10}, fx.OptionError, "budget of 10 bytes is too small"),
    ],
)
def test_wrong_options_are_named(tiny, pair, keywords, error, message):
    with pytest.raises(error, match=message):
        fx.explain(tiny, *pair, **keywords)


def test_wrong_images_are_named(tiny, pair):
    with pytest.raises(fx.ImageError, match=r"shape \(7, 8, 3\).*\(8, 8, 3\)"):
        fx.explain(tiny, pair[0, :7], pair[1])


def test_a_dead_model_is_named(pair):
    model = fx.FaceModel(lambda p, x: p * x.sum((0, 1)), jnp.zeros(3), CARD)
    with pytest.raises(fx.ModelError, match="the cosine is nan: the embedding of 'tiny' is zero"):
        fx.explain(model, *pair)


def test_a_card_without_threshold_asks_for_one(tiny, pair):
    model = fx.FaceModel(tiny.function, tiny.params, fx.Card("t", size=(8, 8), layout="HWC"))
    both = r"card of 't' has no threshold: give one .*or measure.*`fggb verify PAIRS --calibrate`"
    with pytest.raises(fx.OptionError, match=both):
        fx.explain(model, *pair)
    assert fx.explain(model, *pair, threshold=0.1).provenance["threshold_source"] == "given"

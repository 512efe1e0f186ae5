import jax.numpy as jnp
import numpy as np
import pytest

import fggb_jax as fx
import twin
from fggb_jax.attribution import comparison
from fggb_jax.attribution.perturbation import fill_of
from tolerances import assert_close


@pytest.fixture(scope="module")
def faces():
    return twin.pair()


def integrated(faces, **options):
    return fx.explain(twin.model(), *faces, method="integrated_gradients", **options)


def cosine(x, y):
    z = np.asarray(twin.model().embed(np.stack([x, y])))
    return z[0] @ z[1] / np.prod(np.linalg.norm(z, axis=1))


@pytest.mark.parametrize("baseline", ["black", "grey", "mean", "blur", 0.3])
def test_completeness(faces, baseline):
    e = integrated(faces, steps=50, baseline=baseline)
    for face, image, partner in ((e.probe, *faces), (e.gallery, *faces[::-1])):
        start = np.asarray(fill_of(image, baseline))
        difference = cosine(image, partner) - cosine(start, partner)
        np.testing.assert_allclose(face.signed.sum(), difference, rtol=0.03)
        assert abs(difference) > 0.01


def test_of_a_linear_cosine_it_is_exact():
    """The cosine is Σ w·I, so that each pixel adds its weight times it, in any number of steps."""
    weights = np.random.default_rng(2).normal(0, 0.01, (4, 5, 3)).astype(np.float32)

    def embed(w, x):
        u = (w * x).sum()
        # The partner, all white, has the embedding (1, 0).
        return jnp.where(x.min() == 1, jnp.float32([1, 0]), jnp.stack([u, jnp.sqrt(1 - u**2)]))

    card = fx.Card("linear", size=(4, 5), layout="HWC", threshold=0.3)
    model = fx.FaceModel(embed, jnp.asarray(weights), card)
    image = np.random.default_rng(3).random((4, 5, 3), dtype=np.float32)
    partner = np.ones_like(image)
    e = fx.explain(model, image, partner, "integrated_gradients", steps=3, baseline="grey")
    assert_close(e.probe.signed, (weights * (image - np.float32(0.5))).sum(-1))


def test_captums(faces):
    torch = pytest.importorskip("torch")
    attr = pytest.importorskip("captum.attr")
    _, of, x = twin.torch_cosine(*faces)
    theirs = attr.IntegratedGradients(of).attribute(
        x, torch.full_like(x, 0.5), n_steps=9, method="riemann_middle"
    )
    e = integrated(faces, steps=9, baseline="grey")
    assert_close(e.probe.signed, twin.from_torch(theirs).sum(-1))


def test_batches_do_not_change_it(faces, monkeypatch):
    one_by_one = integrated(faces, steps=7).probe.signed
    monkeypatch.setattr(comparison, "on_cpu", lambda: False)
    monkeypatch.setattr(comparison, "plan_images", lambda *_: 3)
    assert_close(integrated(faces, steps=7).probe.signed, one_by_one)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps is 0; give a whole number, 1 or more"),
        ({"baseline": "white"}, "'white'; choose one of black, grey, mean, blur"),
    ],
)
def test_options_that_make_no_sense(faces, options, message):
    with pytest.raises(fx.OptionError, match=message):
        integrated(faces, **options)

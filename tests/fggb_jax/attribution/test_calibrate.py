import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fggb_jax as fx
from fggb_jax.attribution.walk import channel_values
from tolerances import assert_close

CARD = fx.Card("tiny", (5, 4), layout="HWC")


@pytest.fixture(scope="module")
def model():
    w = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4, 3, 9)), jnp.float32)
    return fx.FaceModel(lambda w, x: jnp.tanh(jnp.tensordot(x, w, 3) / 4), w, CARD, sha256="ab")


@pytest.fixture(scope="module")
def faces():
    return np.random.default_rng(1).random((3, 5, 4, 3), dtype=np.float32)


def by_hand(model, image):
    return np.linalg.norm(np.asarray(jax.jacrev(model)(image)).reshape(9, -1), axis=1)


def test_norms_of_one_image(model, faces):
    assert_close(channel_values(model, jnp.asarray(faces[0]), "norm"), by_hand(model, faces[0]))


def test_the_mean_over_images_goes_into_the_card(model, faces):
    told = []
    found = fx.calibrate_norms(model, faces, progress=lambda *now: told.append(now))
    expected = np.mean([by_hand(model, x) for x in faces], axis=0)
    assert_close(np.float32(found.card.norms), expected, relative=1e-3)
    assert (found.sha256, found.card.norms_source) == ("ab", "mean over 3 faces")
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert fx.calibrate_norms(model, faces, source="mine").card.norms_source == "mine"
    np.testing.assert_array_equal(found(faces[0]), model(faces[0]))
    assert model.card.norms is None


def test_bytes_and_floats_give_the_same(model):
    faces = np.random.default_rng(2).integers(0, 256, (2, 5, 4, 3), dtype=np.uint8)
    floats = fx.calibrate_norms(model, faces / np.float32(255)).card.norms
    np.testing.assert_allclose(fx.calibrate_norms(model, faces).card.norms, floats, rtol=1e-3)


def test_what_cannot_be_calibrated_is_refused(model, faces):
    with pytest.raises(fx.ImageError, match="no image to measure norms on"):
        fx.calibrate_norms(model, faces[:0])
    with pytest.raises(fx.ImageError, match=r"\(B, 5, 4, 3\)"):
        fx.calibrate_norms(model, faces[:, :4])
    dead = fx.FaceModel(lambda w, x: model.function(w, x).at[4].set(1.0), model.params, CARD)
    with pytest.raises(fx.ModelError, match=r"channel 4 of 'tiny' has a gradient of norm 0\.0"):
        fx.calibrate_norms(dead, faces)

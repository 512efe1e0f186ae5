"""Faces of few pixels, and recognizers of which it is known what a hidden pixel does."""

import jax.numpy as jnp
import numpy as np

import fggb_jax as fx
from fggb_jax.attribution import registry
from fggb_jax.attribution.comparison import Comparison
from tiny import curved, curved_params

SIZE = (14, 12)  # not square: rows and columns must not be confused
PARTNER = np.float32([[0, 1], [1, 0]])  # of the two embeddings only the second one counts


def card(size=SIZE):
    return fx.Card("hidden-parts", size=size, layout="HWC", threshold=0.3)


def faces(count=2, seed=0, size=SIZE):
    return np.random.default_rng(seed).random((count, *size, 3), dtype=np.float32)


def curved_model(seed=0):
    """Two layers of all pixels."""
    params = curved_params(np.random.default_rng(seed), SIZE, 8, 5)
    return fx.FaceModel(curved, params, card())


def curved_black_box(seed=0):
    """The same, by NumPy."""
    p = {name: np.asarray(x) for name, x in curved_model(seed).params.items()}
    layers = lambda x: np.tanh(np.tensordot(x, p["a"], 3)) @ p["b"] + p["c"]  # noqa: E731
    return fx.BlackBox(layers, card())


def by_cosine(cosine, size=SIZE):
    """A black box whose cosine to (1, 0) is this function of grey images (B, H, W)."""

    def embed(images):
        value = cosine(np.float64(images).mean(-1))
        return np.stack([value, np.sqrt(1 - value**2)], -1)

    return fx.BlackBox(embed, card(size))


def linear(weights):
    """A black box whose cosine to (1, 0) is a weighted sum of grey pixels."""
    return by_cosine(lambda grey: np.tensordot(grey, weights, 2), weights.shape)


def to_the_first_axis(model, image, partner=None, **options):
    """A comparison with the embedding (1, 0)."""
    z = np.stack([np.asarray(model.embed(image[None]))[0], [1, 0]]).astype(np.float32)
    partner = image if partner is None else partner
    shared = {"embeddings": z, **options}
    return Comparison(model, jnp.asarray(image), jnp.asarray(partner), 0.3, **shared)


def compared(model, pair, **options):
    """A comparison of two faces."""
    return Comparison(model, *map(jnp.asarray, pair), 0.3, **options)


def face_map(c, name, **options):
    """The map of a method, as it is registered."""
    method = registry.find(name)
    return np.asarray(method.face(c, **method.check(options)))


def weights(seed=3, size=SIZE):
    """Of pixels: small enough for cosines in [−1, 1] whatever is hidden."""
    values = np.random.default_rng(seed).normal(size=size)
    return values / np.abs(values).sum()

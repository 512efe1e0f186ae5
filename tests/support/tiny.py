"""A recognizer of three stages and a few faces, so small that everything compiles at once."""

import jax.numpy as jnp
import numpy as np

import fggb_jax as fx

SIZE, N = (8, 8), 10


def network(params, x):
    for stage in network.stages:
        x = stage(params, x)
    return x


network.stages = (
    lambda p, x: jnp.tanh(jnp.tensordot(x.reshape(4, 2, 4, 2, 3), p["a"], [[1, 3, 4], [0, 1, 2]])),
    lambda p, x: jnp.tanh(jnp.tensordot(x, p["b"], 3)),
    lambda p, x: x @ p["c"] + p["d"],
)


def model(seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"a": (2, 2, 3, 6), "b": (4, 4, 6, 12), "c": (12, N), "d": (N,)}
    params = {
        name: (rng.normal(size=shape) / np.prod(shape[:-1]) ** 0.5).astype(np.float32)
        for name, shape in shapes.items()
    }
    card = fx.Card("tiny", size=SIZE, layout="HWC", threshold=0.3)
    return fx.FaceModel(network, params, card, sha256="abc")


def curved(params, x):
    """Two layers of an image, their Jacobian not constant."""
    hidden = jnp.tanh(jnp.tensordot(x, params["a"], 3))
    return jnp.tensordot(hidden, params["b"], 1) + params["c"]


def curved_params(rng, size, hidden, count):
    params = {
        "a": rng.normal(size=(*size, 3, hidden)) / 6,
        "b": rng.normal(size=(hidden, count)),
        "c": rng.normal(size=count),
    }
    return {name: jnp.float32(value) for name, value in params.items()}


def faces(count=6, seed=1):
    return np.random.default_rng(seed).integers(0, 256, (count, *SIZE, 3), dtype=np.uint8)


# Repeated, turned round, of an image with itself, and one image in most of them.
PAIRS = [(0, 1), (0, 2), (3, 0), (1, 0), (2, 2), (0, 1), (4, 0), (5, 0), (0, 3), (4, 5)]


def maps(e):
    return np.stack([e.probe.p, e.probe.q, e.gallery.p, e.gallery.q])

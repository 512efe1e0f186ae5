import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fggb_jax.attribution import jacobian
from tolerances import assert_close

KINDS = ("magnitude", "signed")


def network(n=12, size=(6, 5), seed=0):
    w = np.random.default_rng(seed).normal(size=(*size, 3, n)).astype(np.float32) / 5
    return lambda x: jnp.tanh(jnp.tensordot(x, w, 3))


def image(size=(6, 5), seed=1):
    return np.random.default_rng(seed).random((*size, 3), dtype=np.float32)


def by_hand(f, x, coefficients, kind):
    """The definition, channel by channel, in float64 NumPy, from the whole Jacobian."""
    total = 0
    for c, gradient in zip(coefficients, np.asarray(jax.jacrev(f)(x), np.float64), strict=True):
        if kind == "magnitude":
            image = np.abs(gradient).mean(-1)
            total = total + c * image / np.linalg.norm(image)
        else:
            total = total + c * (gradient / np.linalg.norm(gradient)).mean(-1)
    return total


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chunk", [1, 5, 12, 32])
def test_both_drivers_equal_the_definition_at_any_chunk(kind, chunk):
    f, x = network(), image()
    rows = np.random.default_rng(2).normal(size=(3, 12)).astype(np.float32)
    expected = np.stack([by_hand(f, x, row, kind) for row in rows])
    _, pull = jax.jit(lambda x: jax.vjp(f, x))(x)
    rows = jnp.asarray(rows)
    assert_close(jacobian.scan_channels(pull, rows, (6, 5), chunk, kind), expected)
    assert_close(jacobian.drive_channels(pull, rows, (6, 5), chunk, kind), expected)


def test_channel_map_by_hand():
    gradient = jnp.asarray([[[3.0, 0.0, 0.0]], [[0.0, -4.0, 0.0]]])
    # Signed: norm 5 over all, then the mean over RGB.
    assert_close(jacobian.channel_map(gradient, "signed"), [[0.2], [-4 / 15]])
    # Magnitude: means 1 and 4/3, their norm 5/3.
    assert_close(jacobian.channel_map(gradient, "magnitude"), [[0.6], [0.8]])


@pytest.mark.parametrize("kind", KINDS)
def test_a_dead_channel_adds_nothing_and_its_gradient_is_finite(kind):
    zero = jnp.zeros((2, 2, 3))
    assert jacobian.channel_map(zero, kind).tolist() == [[0, 0], [0, 0]]
    gradient = jax.grad(lambda g: jacobian.channel_map(g, kind).sum())(zero)
    assert np.isfinite(gradient).all()


@given(st.floats(1e-6, 1e6), st.sampled_from(KINDS), st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_a_channel_map_does_not_depend_on_the_gradients_scale(scale, kind, seed):
    gradient = jnp.asarray(image(seed=seed) - np.float32(0.5))
    ours = jacobian.channel_map(gradient * np.float32(scale), kind)
    assert_close(ours, jacobian.channel_map(gradient, kind))


def test_progress_counts_channels():
    f, x = network(), image()
    _, pull = jax.jit(lambda x: jax.vjp(f, x))(x)
    seen = []
    rows = jnp.ones((1, 12), jnp.float32)
    jacobian.drive_channels(
        pull, rows, (6, 5), 5, "signed", progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(5, 12), (10, 12), (12, 12)]

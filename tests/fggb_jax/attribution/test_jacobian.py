import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fggb_jax as fx
from fggb_jax.attribution import jacobian
from fggb_jax.attribution.pullback import prepare
from onnx2jax.lowering.channels_last import placed
from tolerances import assert_close

KINDS = ("magnitude", "signed")
EYE = jnp.eye(12)


def as_steps(stages, x, kind):
    """The prepared pullbacks of stages, the first ending in the channel's map."""

    @jax.jit
    def forward(x):
        x, steps = placed(x), []
        finish = functools.partial(jacobian.channel_map, kind=kind)
        for stage in stages:
            x, step = prepare(stage, x, None if steps else finish)
            steps.append(step)
        return steps

    return forward(x)


def as_value(f, x, kind):
    """The same of a whole network as a plain function of one cotangent."""
    _, pull = jax.jit(lambda x: jax.vjp(f, x))(x)
    return lambda cotangent: jacobian.channel_map(pull(cotangent)[0], kind)


def network(n=12, size=(6, 5), seed=0, dtype=np.float32):
    w = (np.random.default_rng(seed).normal(size=(*size, 3, n)) / 5).astype(dtype)
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
    value, rows = as_value(f, x, kind), jnp.asarray(rows)
    assert_close(jacobian.scan_channels(value, EYE, rows, (6, 5), chunk), expected)
    steps = as_steps([f], x, kind)
    assert_close(jacobian.drive_channels(steps, EYE, rows, (6, 5), [chunk]), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chunks", [(1, 1, 1), (1, 2, 8), (4, 4, 4), (1, 1, 16)])
def test_stages_depth_first_equal_the_whole_network_at_any_chunks(kind, chunks):
    w, v = (np.random.default_rng(i).normal(size=(12, 12)).astype(np.float32) for i in (5, 6))
    stages = (network(), lambda x: jnp.tanh(x @ w), lambda x: jnp.tanh(x @ v))
    steps = as_steps(stages, image(), kind)
    rows = np.random.default_rng(2).normal(size=(2, 12)).astype(np.float32)
    expected = by_hand(lambda x: stages[2](stages[1](stages[0](x))), image(), rows[0], kind)
    drive = functools.partial(
        jacobian.drive_channels, steps, EYE, jnp.asarray(rows), (6, 5), chunks
    )
    alone = drive()
    assert_close(alone[0], expected)
    np.testing.assert_array_equal(drive(threads=3), alone)


@pytest.mark.parametrize("kind", KINDS)
def test_any_seeds_not_only_the_channels(kind):
    f, x = network(), image()
    seeds, rows = (
        jnp.asarray(np.random.default_rng(i).normal(size=s).astype(np.float32))
        for i, s in ((3, (5, 12)), (4, (2, 5)))
    )
    projected = lambda x: seeds @ f(x)  # noqa: E731  its channels are the seeds'
    expected = np.stack([by_hand(projected, x, row, kind) for row in rows])
    value = as_value(f, x, kind)
    assert_close(jacobian.scan_channels(value, seeds, rows, (6, 5), 2), expected)
    steps = as_steps([f], x, kind)
    assert_close(jacobian.drive_channels(steps, seeds, rows, (6, 5), [2]), expected)


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
    steps, seen = as_steps([f], x, "signed"), []
    rows = jnp.ones((1, 12), jnp.float32)
    jacobian.drive_channels(
        steps, EYE, rows, (6, 5), [5], progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(5, 12), (10, 12), (12, 12)]


def test_threads_keep_the_settings_of_the_one_that_calls():
    """JAX keeps them for each thread; without them float64 would come back as float32."""
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        f, x = network(dtype=np.float64), image().astype(np.float64)
        steps = as_steps([f], x, "magnitude")
        eye, rows = jnp.eye(12, dtype=jnp.float64), jnp.ones((1, 12), jnp.float64)
        drive = functools.partial(jacobian.drive_channels, steps, eye, rows, (6, 5), [4])
        found = drive(threads=2)
        assert found.dtype == jnp.float64
        np.testing.assert_array_equal(found, drive())


@pytest.mark.parametrize("threads", [1, 2])
def test_items_are_asked_for_as_they_are_worked_on(threads):
    """In their order, and no more of them ahead than the threads have use for."""
    asked, most = [], jacobian.AHEAD * threads
    items = (asked.append(i) or i for i in range(40))
    found = jacobian.in_threads(lambda i: -i, items, threads, alone=1)
    for i, value in enumerate(found):
        assert value == -i
        ahead = len(asked) - i - 1
        assert ahead == (0 if threads == 1 or i == 0 else min(most - 1, 39 - i))
    assert asked == list(range(40))


def test_an_item_that_fails_ends_it():
    def fails(i):
        if i == 5:
            raise fx.ModelError("no such luck")
        return i

    found = jacobian.in_threads(fails, iter(range(100)), 2, alone=0)
    assert [next(found) for _ in range(5)] == list(range(5))
    with pytest.raises(fx.ModelError, match="no such luck"):
        next(found)

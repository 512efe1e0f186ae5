"""The walker of CPUs beside the one of devices, and the memory that waiting maps take."""

import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tiny
from fggb_jax.attribution import by_image, jacobian
from fggb_jax.attribution.by_image import Driven, Sharded, _walk_on
from fggb_jax.attribution.memory import Limits
from tolerances import assert_close

BUDGET = 1 << 26


@pytest.fixture(scope="module")
def model():
    return tiny.model()


@pytest.fixture(scope="module")
def faces():
    return tiny.faces().astype(np.float32) / np.float32(255)


def rows(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, tiny.N)).astype(np.float32)


@pytest.mark.parametrize("on_each", [1, 4])
@pytest.mark.parametrize("gradient", ["magnitude", "signed"])
def test_walkers_agree_on_any_number_of_rows(model, faces, gradient, on_each, monkeypatch):
    monkeypatch.setattr(by_image, "limits", lambda: Limits(BUDGET, 8, on_each, 16))
    driven = Driven(model, gradient, "normalized", BUDGET)
    sharded = Sharded(model, gradient, "normalized", BUDGET, jax.devices()[:2])
    assert sharded.at_once == 2 * on_each
    assert_close(driven.embed(faces[:2]), sharded.embed(faces[:2]))
    asked_for = [[rows(1), rows(5)], [rows(3)]]  # one of two devices may have nothing to do
    for asked in asked_for if on_each == 1 else [*asked_for, [rows(2)] * 3, [rows(1)] * 6]:
        images = faces[: len(asked)]
        found = driven.walk(images, asked), sharded.walk(images, asked)
        for ours, theirs, wanted in zip(*found, asked, strict=True):
            assert len(ours) == len(wanted)
            assert_close(ours, theirs)
    for walker in (driven, sharded):
        seen = []
        found = walker.multiply(faces[0], rows(7), lambda *counts, seen=seen: seen.append(counts))
        assert_close(found, driven.walk(faces[:1], [rows(7)])[0])
        assert seen[-1] == (tiny.N, tiny.N)


def test_the_bits_of_a_row_do_not_depend_on_the_others(model, faces):
    driven = Driven(model, "magnitude", "raw", BUDGET)
    asked = rows(7)
    (together,) = driven.walk(faces[:1], [asked])
    for i in range(7):
        (pair,) = driven.walk(faces[:1], [asked[[i, 0]]])
        np.testing.assert_array_equal(together[i], pair[0])


def test_the_budget_is_divided(model):
    """Waiting maps get what the walk leaves, an eighth at least; an eighth less is still enough."""
    ample, scarce = (Driven(model, "signed", "raw", budget) for budget in (BUDGET, 40_000))
    for walker, budget in ((ample, BUDGET), (scarce, 40_000)):
        assert walker.kept + walker.plan.bytes == budget
        assert walker.kept >= budget // 8
    assert scarce.plan.chunks < ample.plan.chunks
    sharded = Sharded(model, "signed", "raw", BUDGET, jax.devices()[:2])
    assert sharded.kept == BUDGET // 8


@pytest.mark.parametrize("gathered", [1, 3, 4, 8, 100])
def test_products_of_any_number_of_gathered_maps(model, faces, gathered, monkeypatch):
    monkeypatch.setattr(jacobian, "ROWS", 3)
    _, steps = Driven(model, "signed", "raw", BUDGET)._forward(faces[0])
    arguments = steps, jnp.eye(tiny.N), rows(7), tiny.SIZE, (1, 2, 4)
    found = jacobian.multiply_channels(*arguments, gathered=gathered)
    assert_close(found, jacobian.drive_channels(*arguments), relative=1e-6)


def test_nothing_is_sent_between_devices(model, faces):
    sharded = Sharded(model, "magnitude", "raw", BUDGET, jax.devices()[:2])
    arguments = sharded._spread(faces[:2], 2), sharded._spread([rows(2), rows(2)], 2)
    text = _walk_on.lower(*sharded._walk.args, 2, sharded.model, *arguments).compile().as_text()
    for collective in ("all-reduce", "all-gather", "all-to-all", "collective-permute"):
        assert collective not in text


class Recorder:
    """A walker of large maps that costs nothing else."""

    SIDE = 128

    def __init__(self, kept, at_once=1):
        self.kept, self.at_once, self.embeds, self.walks = kept, at_once, at_once, 0

    def embed(self, images):
        return np.ones((len(images), 3), np.float32)

    def walk(self, images, rows):
        self.walks += len(images)
        return [np.ones((len(row), self.SIDE, self.SIDE), np.float32) for row in rows]


@pytest.mark.parametrize("at_once", [1, 4])
@pytest.mark.parametrize("maps", [16, 64, 400])
def test_maps_that_wait_stay_within_the_budget(maps, at_once):
    """What NumPy allocates, seen by tracemalloc, while pairs of a few images come and go."""
    size = Recorder.SIDE**2 * 4
    walker = Recorder(maps * size, at_once)
    pairs = [tuple(p) for p in np.random.default_rng(0).integers(0, 25, (120, 2)).tolist()]
    images = np.zeros((25, Recorder.SIDE, Recorder.SIDE, 3), np.float32)
    next(by_image.explain_by_image(walker, images.__getitem__, pairs[:1], 0.3))  # compiled now
    walker.walks = 0
    tracemalloc.start()
    try:
        for _ in by_image.explain_by_image(walker, images.__getitem__, pairs, 0.3):
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert walker.walks < 2 * len(pairs)
    # The images of a round are the walker's arguments, no maps.
    assert peak <= maps * size + at_once * 3 * size + (1 << 20)

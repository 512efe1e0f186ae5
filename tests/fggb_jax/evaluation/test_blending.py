import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fggb_jax as fx
from fggb_jax.evaluation.blending import harmonic, seamless


def image(seed, shape=(14, 17)):
    return np.random.default_rng(seed).uniform(0.3, 0.7, (*shape, 3)).astype(np.float32)


def masks():
    """Any mask that is false somewhere: with holes, in parts, along the image's edges."""
    bits = st.lists(st.booleans(), min_size=14 * 17, max_size=14 * 17)
    return bits.map(lambda b: np.array(b).reshape(14, 17)).filter(lambda m: not m.all())


@settings(max_examples=20, deadline=None)
@given(mask=masks(), seed=st.integers(0, 99))
def test_outside_of_the_mask_nothing_changes(mask, seed):
    target = image(seed)
    found = seamless(target, image(seed + 1), mask)
    assert found.dtype == np.float32
    assert (found[~mask] == target[~mask]).all()
    assert 0 <= found.min() <= found.max() <= 1


@settings(max_examples=20, deadline=None)
@given(mask=masks(), offset=st.floats(-0.3, 0.3))
def test_a_darker_or_brighter_copy_gives_the_target_back(mask, offset):
    target = image(0)
    found = seamless(target, target + np.float32(offset), mask)
    np.testing.assert_allclose(found, target, atol=1e-4)


def test_inside_the_gradients_are_the_sources():
    """Away from the boundary the Laplacian is the source's, which clipping would change."""
    target, source = image(0), image(1) * 0.2 + 0.4
    mask = np.zeros((14, 17), bool)
    mask[2:12, 3:14] = True

    def laplacian(x):
        return 4 * x[1:-1, 1:-1] - x[:-2, 1:-1] - x[2:, 1:-1] - x[1:-1, :-2] - x[1:-1, 2:]

    found = seamless(target, source.astype(np.float32), mask)
    inner = mask[1:-1, 1:-1]
    np.testing.assert_allclose(laplacian(found)[inner], laplacian(source)[inner], atol=1e-4)


def test_a_harmonic_continuation_against_a_direct_solution():
    """One unknown row between the boundary values 0 and 1 at its ends: a straight line."""
    values = np.zeros((1, 6, 1))
    values[0, 5] = 1
    mask = np.array([[False, True, True, True, True, False]])
    np.testing.assert_allclose(harmonic(values, mask)[0, 1:5, 0], np.arange(1, 5) / 5, atol=1e-5)


def test_a_large_region_is_solved():
    """All but one corner of a face; the slowest case for the solver."""
    target = image(0, (112, 112))
    mask = np.ones((112, 112), bool)
    mask[0, 0] = False
    np.testing.assert_allclose(seamless(target, target - np.float32(0.2), mask), target, atol=1e-3)


def test_an_empty_mask_gives_the_target():
    assert (seamless(image(0), image(1), np.zeros((14, 17), bool)) == image(0)).all()


@pytest.mark.parametrize(
    ("source", "mask", "message"),
    [
        (image(1, (5, 5)), np.zeros((14, 17), bool), r"a source of \(5, 5, 3\)"),
        (image(1), np.zeros((14, 17)), "must be bool"),
        (image(1), np.ones((14, 17), bool), "false somewhere"),
    ],
)
def test_what_cannot_be_blended(source, mask, message):
    with pytest.raises(fx.OptionError, match=message):
        seamless(image(0), source, mask)

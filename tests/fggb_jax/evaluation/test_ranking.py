import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fggb_jax.errors import FggbError
from fggb_jax.evaluation.ranking import prefixes, ranked

MAPS = hnp.arrays(
    np.float32, (6, 7), elements=st.floats(-2, 2, width=32) | st.sampled_from([0.0, 1.0])
)


@given(values=MAPS)
def test_every_pixel_once_most_salient_first(values):
    order = ranked(values)
    if order is None:
        assert (values == values[0, 0]).all()
        return
    assert np.sort(order).tolist() == list(range(42))
    assert (np.diff(values.ravel()[order]) <= 0).all()


@given(values=MAPS, other=MAPS)
def test_ties_fall_alike_in_all_maps(values, other):
    """Of pixels that are tied in both maps the one that is first in one is first in the other."""
    orders = ranked(values), ranked(other)
    if orders[0] is None or orders[1] is None:
        return
    tied = np.flatnonzero((values == 0) & (other == 0))
    first, second = ([p for p in order if p in tied] for order in orders)
    assert first == second


def test_ties_are_no_raster():
    """One pixel is marked: the next tenth of the order lies all over the image."""
    values = np.zeros((40, 40))
    values[3, 5] = 1
    order = ranked(values)
    assert order is not None
    assert order[0] == 3 * 40 + 5
    for place in np.divmod(order[1:161], 40):
        assert abs(place.mean() - 19.5) < 3  # of 160 uniform ones the mean has σ = 0.9
        assert place.std() > 9


def test_what_is_zero_comes_after_what_is_marked_and_before_what_is_negative():
    values = np.array([[0.0, 2.0, 0.0], [-1.0, 0.5, 0.0]])
    order = ranked(values)
    assert order is not None
    assert order[[0, 1, 5]].tolist() == [1, 4, 3]


@given(values=hnp.arrays(np.float32, (5, 5), elements=st.floats(-2, 2, width=32), unique=True))
def test_without_ties_the_negated_map_is_the_reverse(values):
    order, turned = ranked(values), ranked(-values)
    assert order is not None
    assert turned is not None
    assert (order == turned[::-1]).all()


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5])
def test_a_map_of_one_value_is_empty(value):
    assert ranked(np.full((4, 4), value)) is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused(value):
    values = np.zeros((4, 4))
    values[1, 1] = value
    with pytest.raises(FggbError, match="1 of 16 values"):
        ranked(values)


def test_prefixes_are_nested_and_as_large_as_asked():
    values = np.random.default_rng(0).normal(size=(5, 8))
    order = ranked(values)
    assert order is not None
    masks = prefixes(order, [0, 3, 17, 40], (5, 8))
    assert masks.sum((1, 2)).tolist() == [0, 3, 17, 40]
    assert (masks[1:] >= masks[:-1]).all()
    assert values[masks[2]].min() >= values[~masks[2]].max()

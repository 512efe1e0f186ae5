import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fggb_jax.attribution.schedule import Walk, needs, schedule

indices = st.integers(0, 7)
lists = st.lists(st.tuples(indices, indices), max_size=24)


def played(pairs, bound, at_once=1):
    """Go through a schedule as whoever walks would: (walks, the most maps at a time)."""
    held, done, most, walked = {}, 0, 0, []
    for walks in schedule(pairs, bound, at_once):
        images = [walk.image for walk in walks]
        assert 1 <= len(images) == len(set(images)) <= at_once
        walked += images
        for walk in walks:
            assert walk.kept, "a walk for nothing"
            for partner, last in walk.kept.items():
                assert (walk.image, partner) not in held, "a map is made twice"
                held[walk.image, partner] = last
        most = max(most, len(held) + len({image for image, _ in held}))
        while done < len(pairs) and all(key in held for key in needs(pairs[done])):
            for key in set(needs(pairs[done])):
                if held[key] == done:
                    del held[key]
            done += 1
    assert done == len(pairs), "a pair never gets its maps"
    assert not held, "maps are kept for nothing"
    return walked, most


@given(lists, st.integers(4, 40), st.integers(1, 5))
@settings(deadline=None)
def test_every_pair_gets_its_maps_in_order_within_the_bound(pairs, bound, at_once):
    walked, most = played(pairs, bound, at_once)
    assert most <= bound
    assert len(walked) <= sum(len(set(pair)) for pair in pairs)


@given(lists, st.integers(1, 5))
@settings(deadline=None)
def test_with_room_for_all_each_image_is_walked_once(pairs, at_once):
    walked, _ = played(pairs, 1000, at_once)
    assert sorted(walked) == sorted({image for pair in pairs for image in pair})


def test_rounds_are_full_where_there_is_enough_to_do():
    pairs = [(0, 1), (0, 2), (3, 0), (4, 5)]
    rounds = schedule(pairs, 100, at_once=3)
    assert [[walk.image for walk in walks] for walks in rounds] == [[0, 1, 2], [3, 4, 5]]


def test_what_is_needed_last_is_given_up_first():
    """Room for four maps: of image 0's three only the next one is made, each time."""
    pairs = [(0, 1), (0, 2), (0, 3)]
    assert [walk for (walk,) in schedule(pairs, 4)] == [
        *(Walk(0, {1: 0}), Walk(1, {0: 0}), Walk(0, {2: 1})),
        *(Walk(2, {0: 1}), Walk(0, {3: 2}), Walk(3, {0: 2})),
    ]
    images = [walk.image for (walk,) in schedule(pairs, 5)]
    assert images == [0, 1, 2, 0, 3]  # room for one map more: one walk less


def test_a_hub_of_a_thousand_pairs_is_walked_seldom():
    """1,001 walks are the least; with room for 100 of 2,000 maps about ten more are needed."""
    walked, most = played([(0, i) for i in range(1, 1001)], 102)
    assert most <= 102
    assert 1001 < len(walked) <= 1001 + 11


def test_random_pairs_cost_less_the_more_room_there_is():
    pairs = [tuple(pair) for pair in np.random.default_rng(0).integers(0, 60, (300, 2)).tolist()]
    costs = [len(played(pairs, bound)[0]) for bound in (4, 16, 64, 256, 1024)]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] == len({i for pair in pairs for i in pair})


def test_a_bound_for_less_than_a_pair_is_refused():
    with pytest.raises(ValueError, match="bound is 3; one pair needs 4 maps"):
        schedule([(0, 1)], 3)

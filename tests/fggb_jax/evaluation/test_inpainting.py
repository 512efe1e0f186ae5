"""Persons are textures, and the embedding is the face's own detail: cosines are of pixels."""

import numpy as np
import pytest

import fggb_jax as fx
from fggb_jax.evaluation.inpainting import (
    FALSE_ALARMS,
    REGIONS,
    game_of,
    inpainting,
    region_masks,
    swaps,
)
from fggb_jax.evaluation.judgement import Case, Reading, find
from fggb_jax.faces.templates import ArcFace, Dlib

SIZE = (56, 56)
CARD = fx.Card("detail", SIZE, template="arcface-112")
MODEL = fx.BlackBox(lambda x: x.reshape(len(x), -1) - 0.5, CARD)


def persons():
    rng = np.random.default_rng(0)
    mate, other = 0.5 + 0.2 * rng.uniform(-1, 1, (2, *SIZE, 3))
    photos = mate + 0.1 * rng.uniform(-1, 1, (2, *SIZE, 3))
    return photos.astype(np.float32), other.astype(np.float32)


def case(same=True, model=MODEL, seed=0):
    (a, b), other = persons()
    return Case(model, a, b, same, 0.3, other[None], np.full_like(a, 0.5), seed)


def knows(pair, sign=1):
    """A method that sees where the gallery image was inpainted, or everything else."""

    def explain(probe, gallery, model=None):
        region = (gallery != pair.gallery).any(-1).astype(np.float32)
        return Reading(np.zeros_like(region), region if sign > 0 else 1 - region)

    return explain


def test_a_map_of_the_region_makes_the_non_mate_without_false_alarms():
    pair = case()
    found = inpainting(pair, knows(pair))
    assert found["nonmate_curve"] == [1.0] * len(FALSE_ALARMS)
    assert found["nonmate_at_1_percent"] == found["nonmate_at_5_percent"] == 100


def test_a_map_of_all_but_the_region_never_does():
    """Outside of the region twin and probe are the same."""
    pair = case()
    found = inpainting(pair, knows(pair, -1))
    assert found["nonmate_curve"] == [0.0] * len(FALSE_ALARMS)


def test_a_map_of_noise_needs_half_of_the_image():
    """At 50 % false alarms about half of the region is swapped; at 20 % the mate still wins."""
    noise = np.random.default_rng(1).random(SIZE, np.float32)
    found = inpainting(case(), lambda *_: Reading(noise, noise))
    assert found["nonmate_curve"][:-1] == [0.0] * (len(FALSE_ALARMS) - 1)


def test_the_map_asked_for_is_of_the_probe_against_the_non_mate():
    pair, seen = case(), []

    def explain(probe, gallery, model=None):
        seen.append((probe, gallery))
        return knows(pair)(probe, gallery)

    inpainting(pair, explain)
    ((probe, gallery),) = seen
    game = game_of(pair)
    assert game is not None
    assert probe is pair.probe
    assert (gallery == game.nonmate).all()


def test_the_game_changes_the_region_alone():
    pair = case()
    game = game_of(pair)
    assert game is not None
    for face, twin in ((pair.probe, game.twin), (pair.gallery, game.nonmate)):
        assert (face == twin)[~game.region].all()
        assert (face != twin)[game.region].any(-1).mean() > 0.95


def test_regions_differ_from_pair_to_pair_and_not_from_run_to_run():
    games = [game_of(case(seed=seed)) for seed in (0, 0, 1, 2, 3)]
    areas = [int(game.region.sum()) for game in games if game is not None]
    assert areas[0] == areas[1]
    assert len(set(areas)) > 1


def test_swaps_by_hand():
    """Of 22 pixels two are the region, so 5 % is one of the 20 outside, 10 % are two.

    The order has region, outside, region, then outside only: as many as go without one more alarm.
    """
    region = np.zeros((2, 11), bool)
    region[0, :2] = True
    order = np.array([0, 2, 1, *range(3, 22)])
    assert swaps(order, region) == [1, 1, 1, 3, 4, 6, 12]
    assert FALSE_ALARMS == (0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


def test_a_network_that_sees_no_difference_plays_no_game():
    blind = fx.BlackBox(lambda x: np.ones((len(x), 2)), CARD)

    def explain(*_):
        raise AssertionError("no map is needed")

    for pair in (case(model=blind), case(same=False)):
        found = inpainting(pair, explain)
        assert all(np.isnan(value).all() for value in found.values())


def test_an_empty_map_has_no_score_and_is_counted():
    zero = np.zeros(SIZE, np.float32)
    found = inpainting(case(), lambda *_: Reading(zero, zero))
    assert found["empty"] == 1
    assert np.isnan(found["nonmate_at_1_percent"])


def test_what_is_returned_is_what_is_registered():
    judge, pair = find("inpainting"), case()
    found = judge.judge(pair, knows(pair))
    assert set(found) == {*judge.scores, *judge.curves}
    assert len(found["nonmate_curve"]) == len(judge.curves["nonmate_curve"][1])


def test_the_pairs_game_is_made_once_for_all_methods():
    seen = 0

    def counting(x):
        nonlocal seen
        seen += len(x)
        return x.reshape(len(x), -1) - 0.5

    pair = case(model=fx.BlackBox(counting, CARD))
    for _ in range(2):
        inpainting(pair, knows(pair))
    assert seen == 16 + 2 * 8  # the twins of six regions, then the mixed faces of each map


@pytest.mark.parametrize(
    ("template", "size"),
    [("arcface-112", (112, 112)), ("arcface-112", (112, 96)), (None, (56, 56))],
)
def test_regions_lie_on_the_landmarks(template, size):
    masks = region_masks(fx.Card("any", size, template=template))
    left, right, nose, *mouth = np.rint(ArcFace().points(size)).astype(int)
    on = {"left eye": [left], "right eye": [right], "eyes": [left, right], "nose": [nose]}
    for name, points in {**on, "mouth": mouth, "lower face": mouth}.items():
        assert all(masks[name][y, x] for x, y in points), name
    assert not masks["left eye"][right[1], right[0]]
    assert not masks["mouth"][nose[1], nose[0]]
    assert all(0.01 < mask.mean() < 0.3 for mask in masks.values())


def test_regions_of_dlibs_chips():
    masks = region_masks(fx.Card("any", (150, 150), template="dlib-150"))
    place = dict(zip(Dlib.USED_68, Dlib.POINTS_68, strict=True))
    for name, points in (("left eye", range(36, 42)), ("right eye", range(42, 48))):
        for x, y in (np.rint((Dlib.PADDING + place[i]) * 100).astype(int) for i in points):
            assert masks[name][y, x]
            assert masks["eyes"][y, x]
    x, y = np.rint((Dlib.PADDING + place[51]) * 100).astype(int)  # the middle of the upper lip
    assert masks["mouth"][y, x]
    assert list(masks) == list(REGIONS)

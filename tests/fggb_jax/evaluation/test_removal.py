"""A face of 10×10 pixels is known by its KEY, two rows: each percent of removal is one pixel."""

import numpy as np
import pytest

import fggb_jax as fx
from fggb_jax.evaluation.judgement import Case, Reading, find
from fggb_jax.evaluation.ranking import ranked
from fggb_jax.evaluation.removal import (
    FILLS,
    PERCENT,
    area,
    conditional_deletion_insertion,
    cosine_deletion_insertion,
    deletion_insertion,
    removal_cosines,
)

NAMES = [
    f"{name}{fill}"
    for name in (
        "deletion_insertion",
        "conditional_deletion_insertion",
        "cosine_deletion_insertion",
    )
    for fill in ("", "_blur", "_mean_face")
]

KEY = np.zeros((10, 10), bool)
KEY[4:6] = True
THRESHOLD = 0.7  # of the key's brightness s: cos = s / √(s² + (1 − s)²) is 0.707 at one half
ROOT = 0.5**0.5


class KeyReader(fx.BlackBox):
    """Embeds a face as (s, 1 − s), s the mean brightness of its key; counts what it embeds."""

    def __init__(self):
        super().__init__(self.read, fx.Card("key", size=(10, 10)))
        self.seen = 0

    def read(self, images):
        self.seen += len(images)
        s = images[:, KEY].mean((1, 2))
        return np.stack([s, 1 - s], 1)


def face(brightness):
    return np.full((10, 10, 3), brightness, np.float32)


def case(same, model=None):
    """The probe's key is lit; the gallery image's is lit in a genuine pair, dark in an impostor.

    The mean face is like the probe, so that it hides nothing.
    """
    gallery = face(1.0 if same else 0.0)
    model = model or KeyReader()
    return Case(model, face(1.0), gallery, same, THRESHOLD, face(0.0)[None], face(1.0))


def by(similarity, dissimilarity=None):
    """A method that always has these maps."""
    other = np.zeros_like(similarity) if dissimilarity is None else dissimilarity
    return lambda probe, gallery, model=None: Reading(similarity, other)


MARKS_KEY = KEY.astype(np.float32)
MARKS_REST = 1 - MARKS_KEY


def test_a_map_that_marks_the_key_by_hand():
    """Half of the key is gone at 10 %, all of it at 20 %; with half the pair is still accepted."""
    found = deletion_insertion(case(True), by(MARKS_KEY), "black")
    assert found["deletion_black_curve"] == [1, 1] + [0] * 9
    assert found["deletion_black"] == pytest.approx(15)
    assert found["insertion_black_curve"] == [0] + [1] * 10
    assert found["insertion_black"] == pytest.approx(95)
    assert found["empty"] == 0


def test_a_map_that_marks_all_but_the_key_by_hand():
    """The key's 20 pixels are the last to go, and the last to come."""
    found = deletion_insertion(case(True), by(MARKS_REST), "black")
    assert found["deletion_black_curve"] == [1] * 10 + [0]
    assert found["insertion_black_curve"] == [0] * 9 + [1] * 2


@pytest.mark.parametrize("fill", ["blur", "mean_face"])
def test_a_fill_that_hides_nothing_changes_nothing(fill):
    """The probe is of one colour, that of the mean face, and is so when blurred."""
    found = deletion_insertion(case(True), by(MARKS_KEY), fill)
    assert found[f"deletion_{fill}"] == found[f"insertion_{fill}"] == 100


def test_the_mean_face_of_the_case_is_what_hides():
    dark = Case(KeyReader(), face(1.0), face(1.0), True, THRESHOLD, face(0.0)[None], face(0.0))
    found = deletion_insertion(dark, by(MARKS_KEY), "mean_face")
    black = deletion_insertion(dark, by(MARKS_KEY), "black")
    assert found["deletion_mean_face_curve"] == black["deletion_black_curve"]


def test_blurring_a_face_takes_its_detail_away():
    """A key lit on a dark face: blurred it is dimmer, but not dark."""
    probe = np.where(KEY[..., None], face(1.0), face(0.0))
    pair = Case(KeyReader(), probe, probe, True, THRESHOLD, face(0.0)[None], face(0.0))
    order = np.argsort(~KEY.ravel(), kind="stable")
    cosines = removal_cosines(pair, order, "blur")["deletion_blur"]
    assert cosines[0] == pytest.approx(1)
    assert 0.5 < cosines[-1] < 0.99
    assert (np.diff(cosines[:3]) < 0).all()


def test_of_a_genuine_pair_the_similarity_map_counts():
    found = conditional_deletion_insertion(case(True), by(MARKS_KEY, MARKS_REST), "black")
    assert found["genuine_deletion_black"] == pytest.approx(15)
    assert found["genuine_insertion_black"] == pytest.approx(95)
    assert np.isnan(found["impostor_deletion_black"])
    assert np.isnan(found["impostor_insertion_black_curve"]).all()


def test_of_an_impostor_pair_the_dissimilarity_map_counts():
    """The dark key matches: the pair becomes accepted once half of the key is black."""
    found = conditional_deletion_insertion(case(False), by(MARKS_REST, MARKS_KEY), "black")
    assert found["impostor_deletion_black_curve"] == [1] + [0] * 10
    assert found["impostor_deletion_black"] == pytest.approx(5)
    assert found["impostor_insertion_black_curve"] == [0, 0] + [1] * 9
    assert found["impostor_insertion_black"] == pytest.approx(85)
    assert np.isnan(found["genuine_deletion_black"])
    assert np.isnan(found["genuine_insertion_black_curve"]).all()


def test_of_all_pairs_an_impostor_pairs_similarity_map_counts():
    found = deletion_insertion(case(False), by(MARKS_REST, MARKS_KEY), "black")
    assert found["deletion_black_curve"] == [1] * 9 + [0, 0]


def test_cosines_by_hand():
    """Genuine: 1, √½, 0, …; impostor: 0, √½, 1, …"""
    found = cosine_deletion_insertion(case(True), by(MARKS_KEY), "black")
    np.testing.assert_allclose(found["genuine_cosine_deletion_black_curve"], [1, ROOT] + [0] * 9)
    assert found["genuine_cosine_deletion_black"] == pytest.approx((0.5 + ROOT) / 10)
    assert found["genuine_cosine_insertion_black"] == pytest.approx((ROOT + 8 + 0.5) / 10)
    assert np.isnan(found["impostor_cosine_deletion_black"])
    found = cosine_deletion_insertion(case(False), by(MARKS_REST, MARKS_KEY), "black")
    np.testing.assert_allclose(found["impostor_cosine_deletion_black_curve"], [0, ROOT] + [1] * 9)
    assert np.isnan(found["genuine_cosine_deletion_black"])


@pytest.mark.parametrize(
    ("behind", "fill"), [("", "black"), ("_blur", "blur"), ("_mean_face", "mean_face")]
)
def test_which_way_is_better(behind, fill):
    """The cosine of an impostor pair should rise when what speaks against the match is gone."""
    conditional = find(f"conditional_deletion_insertion{behind}").scores
    cosine = find(f"cosine_deletion_insertion{behind}").scores
    ways = (f"deletion_{fill}", f"insertion_{fill}")
    for kind in ("genuine", "impostor"):
        assert [conditional[f"{kind}_{way}"] for way in ways] == ["lower", "higher"]
    assert [cosine[f"genuine_cosine_{way}"] for way in ways] == ["lower", "higher"]
    assert [cosine[f"impostor_cosine_{way}"] for way in ways] == ["higher", "lower"]


@pytest.mark.parametrize("same", [True, False])
def test_the_better_map_scores_better_by_every_score(same):
    good = (MARKS_KEY, MARKS_REST) if same else (MARKS_REST, MARKS_KEY)
    for name in ("conditional_deletion_insertion", "cosine_deletion_insertion"):
        pair, judge = case(same), find(name)
        best, worst = (judge.judge(pair, by(*maps)) for maps in (good, good[::-1]))
        for score, better in judge.scores.items():
            gap = best[score] - worst[score]
            if score != "empty" and not np.isnan(gap):
                assert gap > 0 if better == "higher" else gap < 0, score


@pytest.mark.parametrize("seed", range(3))
def test_deletion_is_the_insertion_of_the_negated_map(seed):
    """To remove the P % most salient is to keep the 100 − P % least salient."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(300, 8))
    model = fx.BlackBox(lambda x: x.reshape(len(x), -1) @ weights, fx.Card("any", size=(10, 10)))
    a, b, c, mean = rng.random((4, 10, 10, 3), np.float32)
    # A bias, since a black face has no direction without one.
    shifted = fx.BlackBox(lambda x: model.function(x) + 1, model.card)
    pair = Case(shifted, a, b, True, 0.2, c[None], mean)
    order = rng.permutation(100)
    for fill in FILLS:
        found, turned = (removal_cosines(pair, o, fill) for o in (order, order[::-1]))
        deletion, insertion = found[f"deletion_{fill}"], turned[f"insertion_{fill}"][::-1]
        np.testing.assert_allclose(deletion, insertion, atol=1e-6)
        assert np.ptp(deletion) > 0.01


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_map_has_no_score_and_is_counted(name):
    model = KeyReader()
    found = find(name).judge(case(True, model), by(np.ones((10, 10), np.float32), MARKS_KEY))
    assert found["empty"] == 1
    assert model.seen == 0
    assert all(np.isnan(value).all() for key, value in found.items() if key != "empty")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_returned_is_what_is_registered(name):
    judge = find(name)
    found = judge.judge(case(True), by(MARKS_KEY))
    assert set(found) == {*judge.scores, *judge.curves}
    for curve, (_, axis) in judge.curves.items():
        assert len(found[curve]) == len(axis) == len(PERCENT)


def test_judges_of_one_map_share_its_forwards():
    """2 images that no map changes and the gallery's; 18 by the map, in two batches of 16."""
    model = KeyReader()
    pair = case(True, model)
    deletion_insertion(pair, by(MARKS_KEY), "black")
    assert model.seen == 3 + 32
    conditional_deletion_insertion(pair, by(MARKS_KEY), "black")
    cosine_deletion_insertion(pair, by(MARKS_KEY), "black")
    assert model.seen == 3 + 32
    deletion_insertion(pair, by(MARKS_REST), "black")
    assert model.seen == 3 + 64
    deletion_insertion(pair, by(MARKS_REST), "blur")
    assert model.seen == 3 + 2 + 96


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_maps_are_removed_by_together(name, same):
    """Ten maps, one of them twice, an empty one and one that fails: 18 images each of the rest."""
    rng = np.random.default_rng(0)
    maps = rng.random((10, 2, 10, 10), np.float32)
    methods = [by(*pair) for pair in (*maps, maps[0])]
    empty = by(np.zeros((10, 10), np.float32))

    def fails(probe, gallery, model=None):
        raise fx.ModelError("no such luck")

    judge, model = find(name), KeyReader()
    probe, mean = rng.random((2, 10, 10, 3), np.float32)
    together, apart = (
        Case(m, probe, face(float(same)), same, 0.5, face(0.0)[None], mean / 4)
        for m in (model, KeyReader())
    )
    judge.prepare(together, [*methods, empty, fails])
    seen = model.seen
    found = [judge.judge(together, explain) for explain in methods]
    assert model.seen == seen
    assert seen == 3 + 8 * 18 + 48  # in batches of 16, as of the two maps that are left over
    for explain, scores in zip(methods, found, strict=True):
        expected = judge.judge(apart, explain)
        assert scores.keys() == expected.keys()
        for key, value in scores.items():
            np.testing.assert_array_equal(value, expected[key])
    fill = next((fill for fill in FILLS if name.endswith(fill)), "black")
    orders = [ranked(pair[0 if same or name.startswith("deletion") else 1]) for pair in maps]
    curves = [
        [removal_cosines(pair, order, fill)[f"deletion_{fill}"] for order in orders]
        for pair in (together, apart)
    ]
    np.testing.assert_array_equal(*curves)
    assert len({str(curve) for curve in curves[0]}) == len(maps)  # none is another map's
    assert model.seen == seen
    assert judge.judge(together, empty)["empty"] == 1


def test_another_case_computes_for_itself():
    """Same maps, other pair: what was kept for one must not be told of the other."""
    first, second = case(True), case(False)
    order = np.arange(100)
    assert removal_cosines(first, order, "black")["deletion_black"][0] == pytest.approx(1)
    assert removal_cosines(second, order, "black")["deletion_black"][0] == pytest.approx(0)


def test_area():
    assert area(np.ones(11)) == 1
    assert area(np.linspace(0, 1, 11)) == pytest.approx(0.5)

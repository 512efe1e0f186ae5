import numpy as np
import pytest

from fggb_jax.evaluation import localization
from fggb_jax.evaluation.composites import composite
from fggb_jax.evaluation.judgement import Case, Reading, find
from fggb_jax.evaluation.localization import answers, average_precision, mass, pointing, smoothed

SIZE = (56, 56)


def case(seed=0, same=True):
    rng = np.random.default_rng([9, seed])
    a, c = rng.uniform(0, 1, (2, *SIZE, 3)).astype(np.float32)
    return Case(None, a, a[::-1].copy(), same, 0.3, c[None], a, seed)


def judged(given, explain):
    return find("ground_truth").judge(given, explain)


def box():
    region = np.zeros(SIZE, bool)
    region[10:26, 30:44] = True
    return region


def test_average_precision_by_hand():
    """Hit, miss, hit: after the first 1/1, after the third 2/3, each half of the region."""
    region = np.array([[True, False, True, False]])
    values = np.array([[0.9, 0.8, 0.7, 0.1]])
    assert average_precision(values, region) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_ties_are_retrieved_together():
    """Two tied pixels, one of them a hit: precision 1/2, whichever of them comes first."""
    for region in ([[True, False, False]], [[False, True, False]]):
        assert average_precision(np.array([[5.0, 5.0, 0.0]]), np.array(region)) == 0.5


@pytest.mark.parametrize("values", [2, 5, 10**6])
def test_average_precision_as_scikit_learn(values):
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(values)
    for _ in range(5):
        region = rng.random((9, 11)) < 0.2
        ranked = rng.integers(0, values, (9, 11)) + values * 0.2 * region
        want = metrics.average_precision_score(region.ravel(), ranked.ravel())
        assert average_precision(ranked, region) == pytest.approx(want, abs=1e-12)


def test_mass_and_pointing_by_hand():
    region = np.array([[True, False], [True, False]])
    assert mass(np.array([[3.0, 4.0], [2.0, 1.0]]), region) == 0.5
    assert pointing(np.array([[3.0, 4.0], [2.0, 1.0]]), region) == 0
    assert pointing(np.array([[4.0, 4.0], [4.0, 1.0]]), region) == pytest.approx(2 / 3)


@pytest.mark.parametrize("value", [0, 0.1, 1e-30])
def test_a_map_without_a_pattern_has_the_chance(value):
    """Even 0.1, which a blur would round differently at the edges."""
    region = box()
    precision, share, point = answers(np.full(SIZE, value), region)
    assert precision == pytest.approx(region.mean())
    assert point == pytest.approx(region.mean())
    assert np.isnan(share) if value == 0 else share == pytest.approx(region.mean())


def test_the_region_itself_is_found():
    precision, share, point = answers(box().astype(float), box())
    assert precision > 0.97
    assert (share, point) == (1, 1)
    assert answers(1e-42 * box(), box())[0] == pytest.approx(precision, abs=1e-3)


def test_all_but_the_region_is_worse_than_chance():
    precision, share, point = answers((~box()).astype(float), box())
    assert precision < 0.8 * box().mean()
    assert (share, point) == (0, 0)


def test_scattered_pixels_are_ranked_as_the_region_that_they_fill():
    """Every ninth pixel of the region: the raw map leaves most of it tied with the rest."""
    sparse = np.zeros(SIZE)
    sparse[::3, ::3] = 1
    sparse *= box()
    assert average_precision(sparse, box()) < 0.3
    assert answers(sparse, box())[0] > 0.9


def test_the_map_that_is_ranked_is_smoothed_by_6_of_112_pixels():
    spot = np.zeros((112, 112))
    spot[56, 56] = 1
    row = smoothed(spot)[56]
    assert row[62] / row[56] == pytest.approx(np.exp(-0.5), rel=1e-3)


def test_a_map_that_is_not_finite_is_not_judged():
    values = box().astype(float)
    values[0, 0] = np.inf
    assert np.isnan(answers(values, box())).all()


def test_a_method_that_knows_the_answer():
    """It compares with the probe as it was; and it is asked about the right pairs and maps."""
    given, asked = case(), []

    def oracle(probe, gallery, model=None):
        asked.append((probe, gallery))
        change = np.abs(probe - given.probe).mean(-1)
        nothing = np.zeros(SIZE)
        with_gallery = gallery is given.gallery
        return Reading(nothing, change) if with_gallery else Reading(change, nothing)

    found = judged(given, oracle)
    made = composite(given)
    for question in ("dissimilarity", "similarity"):
        assert found[f"{question}_auprc"] > 0.9
        assert found[f"{question}_mass"] == 1
        assert found[f"{question}_pointing"] == 1
    assert found["area"] == made.area
    assert len(asked) == 2
    assert all((probe == made.image).all() for probe, _ in asked)
    np.testing.assert_array_equal(asked[1][1], given.others[0])


def test_a_method_that_knows_nothing_has_the_chance():
    rng = np.random.default_rng(0)

    def noise(probe, gallery, model=None):
        values = rng.random(SIZE)
        return Reading(values, values)

    found = [judged(case(seed), noise) for seed in range(30)]
    area = np.mean([f["area"] for f in found])
    for question in ("dissimilarity", "similarity"):
        assert np.mean([f[f"{question}_mass"] for f in found]) == pytest.approx(area, abs=0.01)
        assert np.mean([f[f"{question}_auprc"] for f in found]) == pytest.approx(area, abs=0.06)
        assert np.mean([f[f"{question}_pointing"] for f in found]) < 0.4


def test_impostors_are_not_asked_about():
    found = judged(case(same=False), None)
    assert np.isnan(list(found.values())).all()
    assert found.keys() == {*find("ground_truth").scores, "area"}


def test_every_score_that_is_shown_is_there():
    nothing = np.zeros(SIZE)
    found = judged(case(), lambda *_: Reading(nothing, nothing))
    assert found.keys() == {*find("ground_truth").scores, "area"}
    assert found["similarity_auprc"] == pytest.approx(found["area"])
    assert np.isnan(found["similarity_mass"])
    assert set(find("ground_truth").scores.values()) == {"higher"}
    assert localization.SMOOTHING * 112 == 6

import numpy as np
import pytest

from fggb_jax.evaluation import specificity
from fggb_jax.evaluation.judgement import Case, Reading, find

SIZE = (24, 24)


def case(others=3):
    rng = np.random.default_rng(0)
    faces = rng.uniform(0, 1, (2 + others, *SIZE, 3)).astype(np.float32)
    return Case(None, faces[0], faces[1], True, 0.3, faces[2:], faces[0])


def reading(signed):
    return Reading(signed.clip(min=0), (-signed).clip(min=0))


def judged(explain, **given):
    return find("specificity").judge(case(**given), explain)


def own(probe):
    return probe.mean(-1) - 0.5


def test_a_map_of_the_probe_alone_is_the_same_for_all():
    found = judged(lambda probe, gallery, model=None: reading(own(probe)))
    assert found == pytest.approx({"rank_correlation": 1, "cosine": 1})


def test_a_map_that_only_turns_its_sign_tells_nothing_about_the_partner():
    signs = iter([1, -1, -1])
    found = judged(lambda probe, gallery, model=None: reading(next(signs) * own(probe)))
    assert found == pytest.approx({"rank_correlation": 1, "cosine": 1})


def test_a_map_without_a_sign_is_compared_as_it_is():
    found = judged(lambda probe, gallery, model=None: Reading(own(probe) + 1, own(probe) + 1))
    assert found == pytest.approx({"rank_correlation": 1, "cosine": 1})


def test_a_map_of_the_partner_alone_is_specific():
    found = judged(lambda probe, gallery, model=None: reading(own(gallery)))
    assert found["rank_correlation"] < 0.1
    assert found["cosine"] < 0.1


def test_half_and_half_lies_between():
    """S_i = P + G_i, all of one size: the cosine of two is a half."""
    found = judged(lambda probe, gallery, model=None: reading(own(probe) + own(gallery)))
    assert found["cosine"] == pytest.approx(0.5, abs=0.1)


def test_the_gallery_and_two_others_are_asked_about():
    given, partners = case(), []

    def explain(probe, gallery, model=None):
        partners.append(gallery)
        return reading(own(gallery))

    find("specificity").judge(given, explain)
    assert specificity.OTHERS == 2
    np.testing.assert_array_equal(partners, [given.gallery, *given.others[:2]])


def test_one_other_person_is_enough():
    found = judged(lambda probe, gallery, model=None: reading(own(probe)), others=1)
    assert found["cosine"] == pytest.approx(1)


def test_empty_maps_do_not_count():
    scales = iter([1, 0, 2])
    found = judged(lambda probe, gallery, model=None: reading(next(scales) * own(probe)))
    assert found == pytest.approx({"rank_correlation": 1, "cosine": 1})
    found = judged(lambda probe, gallery, model=None: reading(0 * own(probe)))
    assert np.isnan([*found.values()]).all()


def test_what_is_shown_is_there_and_lower_is_better():
    scores = find("specificity").scores
    assert dict(scores) == {"rank_correlation": "lower", "cosine": "lower"}

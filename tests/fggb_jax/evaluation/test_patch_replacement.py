"""A face of 14×14 pixels is embedded as (s, 1 − s), s its mean brightness."""

import numpy as np
import pytest

import fggb_jax as fx
from fggb_jax.evaluation.judgement import Case, Reading, find
from fggb_jax.evaluation.patch_replacement import PERCENT, patch_replacement, patched
from fggb_jax.evaluation.removal import area

N = 14 * 14
MODEL = fx.BlackBox(
    lambda x: np.stack([x.mean((1, 2, 3)), 1 - x.mean((1, 2, 3))], 1), fx.Card("mean", (14, 14))
)


def cosine(s, partner=1.0):
    """Of faces of brightness s and `partner`, 0 or 1."""
    return (s if partner else 1 - s) / np.hypot(s, 1 - s)


def face(brightness):
    return np.full((14, 14, 3), brightness, np.float32)


def case(same, accepted_from, seed=0):
    """A bright gallery image; a bright probe with dark patches, or a dark one with bright patches.

    The pair is accepted where the probe's brightness is `accepted_from` at least.
    """
    probe, other = (face(1.0), face(0.0)) if same else (face(0.0), face(0.5))
    t = float(cosine(accepted_from)) - 1e-6
    return Case(MODEL, probe, face(1.0), same, t, other[None], face(0.5), seed)


def bright(sign=1):
    """A method that takes what is bright for what speaks for the match, or against it."""

    def explain(probe, gallery, model=None):
        found = (probe[..., 0], 1 - probe[..., 0])
        return Reading(*found[::sign])

    return explain


@pytest.mark.parametrize("same", [True, False])
def test_patches_are_of_the_right_face(same):
    """A genuine pair's of another person, an impostor pair's of the gallery image: 2×2 of 14×14."""
    pair = case(same, 0.5)
    found = patched(pair)
    changed = found[..., 0] != pair.probe[..., 0]
    assert set(found[changed].ravel()) == ({0.0} if same else {1.0})
    # 27 of 2×2 pixels, thrown at 169 places: they leave (1 − 4 / 169)^27 = 0.52 of the inside.
    assert 0.3 < changed.mean() < 27 * 4 / N
    assert (patched(case(same, 0.5)) == found).all()
    assert (patched(case(same, 0.5, seed=1)) != found).any()


def test_a_genuine_pair_restored_by_a_map_that_knows_the_patches():
    """Rejected, so what is dark comes first: k patched pixels are back at X = k / N."""
    pair = case(True, accepted_from=0.9)
    dark = int((patched(pair)[..., 0] == 0).sum())
    counts = [round(N * x / 100) for x in PERCENT]
    expected = [float(1 - max(0, dark - count) / N < 0.9) for count in counts]
    assert 0 < sum(expected) < len(PERCENT)
    found = patch_replacement(pair, bright())
    assert found["fnmr_curve"] == expected
    assert found["fnmr"] == pytest.approx(100 * area(np.array(expected)))
    assert found["fnmr_gain"] > 10
    assert np.isnan(found["fmr"])
    assert np.isnan(found["fmr_random_curve"]).all()


def test_an_impostor_pair_restored_by_a_map_that_knows_the_patches():
    """Accepted, so what is bright, the gallery's own pixels, goes first."""
    pair = case(False, accepted_from=0.1)
    lit = int((patched(pair)[..., 0] == 1).sum())
    counts = [round(N * x / 100) for x in PERCENT]
    expected = [float(max(0, lit - count) / N >= 0.1) for count in counts]
    assert 0 < sum(expected) < len(PERCENT)
    found = patch_replacement(pair, bright())
    assert found["fmr_curve"] == expected
    assert found["fmr_gain"] > 10
    assert np.isnan(found["fnmr"])


@pytest.mark.parametrize("same", [True, False])
def test_the_wrong_map_is_worse_than_chance(same):
    found = patch_replacement(case(same, 0.9 if same else 0.1), bright(-1))
    assert found["fnmr_gain" if same else "fmr_gain"] < -2


def test_the_map_is_of_the_patched_probe():
    pair, seen = case(True, 0.9), []

    def explain(probe, gallery, model=None):
        seen.append((probe, gallery))
        return bright()(probe, gallery)

    patch_replacement(pair, explain)
    ((probe, gallery),) = seen
    assert (probe == patched(pair)).all()
    assert gallery is pair.gallery


def test_the_random_order_is_the_same_for_all_methods():
    """And restores patched pixels at the pace of all: at 95 % few are left."""
    found = [patch_replacement(case(True, 0.9), bright(sign)) for sign in (1, -1)]
    assert found[0]["fnmr_random_curve"] == found[1]["fnmr_random_curve"]
    assert found[0]["fnmr_random_curve"][0] == 1
    assert found[0]["fnmr_random_curve"][-1] == 0


def test_an_empty_map_has_no_score_and_is_counted():
    zero = np.zeros((14, 14), np.float32)
    found = patch_replacement(case(True, 0.9), lambda *_: Reading(zero, zero))
    assert found["empty"] == 1
    assert np.isnan([found["fnmr"], found["fnmr_gain"], *found["fnmr_curve"]]).all()


def test_what_is_returned_is_what_is_registered():
    judge = find("patch_replacement")
    found = judge.judge(case(True, 0.9), bright())
    assert set(found) == {*judge.scores, *judge.curves}
    assert all(len(found[name]) == len(axis) for name, (_, axis) in judge.curves.items())

import numpy as np
import pytest

from fggb_jax.evaluation.judgement import Case, Reading, find
from fggb_jax.evaluation.stability import compressed, shifted

SIZE = (32, 40)


def case(seed=0):
    """A smooth face, as photographs are: noise would not outlive JPEG."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    face = np.stack([np.sin(y / 5), np.cos(x / 6), np.sin((x + y) / 7)], -1) * 0.3 + 0.5
    face = face.astype(np.float32)
    return Case(None, face, face, True, 0.3, face[None], face, seed)


def reading(values):
    return Reading(values, np.zeros_like(values))


def judged(explain, seed=0):
    return find("stability").judge(case(seed), explain)


@pytest.mark.parametrize("seed", range(6))
def test_a_map_that_follows_the_image_is_stable(seed):
    found = judged(lambda probe, gallery, model=None: reading(probe[..., 0]), seed)
    assert found["shift"] == pytest.approx(1)  # moved back to the pixel
    assert found["noise"] > 0.98
    assert found["jpeg"] > 0.95


def test_a_map_that_stays_where_it_is_does_not_follow_a_shift():
    """Stripes of one pixel each way."""
    fixed = np.indices(SIZE).sum(0) % 2 + np.random.default_rng(0).normal(0, 0.01, SIZE)
    found = judged(lambda probe, gallery, model=None: reading(fixed))
    assert found["noise"] == pytest.approx(1)
    assert found["jpeg"] == pytest.approx(1)
    assert found["shift"] < -0.5


def test_noise_is_not_stable():
    rng = np.random.default_rng(0)
    found = judged(lambda probe, gallery, model=None: reading(rng.normal(size=SIZE)))
    assert max(abs(v) for v in found.values()) < 0.15


def test_what_is_done_to_the_probe():
    given, probes = case(), []

    def explain(probe, gallery, model=None):
        assert gallery is given.gallery
        assert probe.dtype == np.float32
        assert probe.min() >= 0
        assert probe.max() <= 1
        probes.append(probe)
        return reading(probe[..., 0])

    find("stability").judge(given, explain)
    before, *after = probes
    np.testing.assert_array_equal(before, given.probe)
    noise = min(after, key=lambda x: abs((x - before).std() - 2 / 255))
    assert (noise - before).std() == pytest.approx(2 / 255, rel=0.05)
    assert (noise - before).mean() == pytest.approx(0, abs=1e-3)
    assert len(probes) == 4


def test_noise_and_direction_belong_to_the_pair_and_not_to_the_method():
    kept = []
    for seed in (1, 1, 2):
        probes = []
        judged(
            lambda probe, g, model=None, p=probes: p.append(probe) or reading(probe[..., 1]), seed
        )
        kept.append(np.stack(probes))
    np.testing.assert_array_equal(kept[0], kept[1])
    assert (kept[0] != kept[2]).any()


def test_shift_by_hand():
    values = np.array([[1, 2], [3, 4]])
    assert shifted(values, (0, 1)).tolist() == [[1, 1], [3, 3]]
    assert shifted(values, (-1, 0)).tolist() == [[3, 4], [3, 4]]


def test_jpeg_changes_little_and_less_at_higher_quality():
    face = case().probe
    low, high = (np.abs(compressed(face, q) - face).mean() for q in (30, 90))
    assert 0 < high < low
    assert high < 0.02
    assert compressed(face).dtype == np.float32


def test_an_empty_map_is_not_judged():
    found = judged(lambda probe, gallery, model=None: reading(np.zeros(SIZE)))
    assert np.isnan([*found.values()]).all()
    assert found.keys() == find("stability").scores.keys()

import numpy as np
import pytest

import fggb_jax as fx
from fggb_jax.evaluation import auc, bootstrap, eer, tar_at_far
from fggb_jax.evaluation.rates import accepted_at, area, equal_error
from fggb_jax.evaluation.resampling import resampled, tar_band


def sample(n=200, m=200, seed=0, apart=0.3):
    rng = np.random.default_rng(seed)
    same = np.arange(n + m) < n
    return np.round(rng.normal(apart * same, 0.15), 2), same


def test_every_resample_is_measured_as_a_sample_of_its_own(monkeypatch):
    """The vectorised statistics against the plain functions on the pairs that were drawn."""
    scores, same = sample(30, 40)
    drawn = []
    integers = np.random.Generator.integers

    class Recording:
        def __init__(self, seed):
            self.rng = np.random.Generator(np.random.PCG64(seed))

        def integers(self, *arguments):
            drawn.append(integers(self.rng, *arguments))
            return drawn[-1]

    monkeypatch.setattr(np.random, "default_rng", Recording)
    grid = np.array([0.05, 0.1, 0.33])
    values = resampled(
        scores,
        same,
        lambda r: np.column_stack([equal_error(r)[0], area(r), accepted_at(r, grid)[0]]),
        resamples=50,
    )
    genuine, impostor = scores[same][drawn[0]], scores[~same][drawn[1]]
    assert values.shape == (50, 5)
    for row, a, b in zip(values, genuine, impostor, strict=True):
        pairs = np.r_[a, b], np.arange(70) < 30
        expected = [eer(*pairs).eer, auc(*pairs), *(tar_at_far(*pairs, f).tar for f in grid)]
        np.testing.assert_allclose(row, expected, atol=1e-12)


def test_intervals_hold_the_figures_and_shrink_with_the_pairs():
    widths = []
    for n in (100, 1600):
        scores, same = sample(n, n)
        found = bootstrap(scores, same)
        assert found.eer[0] < eer(scores, same).eer < found.eer[1]
        assert found.auc[0] < auc(scores, same) < found.auc[1]
        low, high = found.tar_at_far[0.1]
        assert low < tar_at_far(scores, same, 0.1).tar < high
        widths.append(found.auc[1] - found.auc[0])
    assert 2 < widths[0] / widths[1] < 6  # √16 = 4


def test_the_area_has_the_interval_of_its_known_variance():
    """DeLong's standard error of the AUC, which is exact for large samples."""
    scores, same = sample(400, 300)
    a, b = scores[same][:, None], scores[~same][None]
    couples = (a > b) + (a == b) / 2
    error = np.sqrt(couples.mean(1).var(ddof=1) / 400 + couples.mean(0).var(ddof=1) / 300)
    low, high = bootstrap(scores, same, resamples=4000).auc
    assert (high - low) / (2 * 1.96 * error) == pytest.approx(1, abs=0.08)


def test_the_seed_decides():
    pairs = sample()
    assert bootstrap(*pairs) == bootstrap(*pairs)
    assert bootstrap(*pairs).auc != bootstrap(*pairs, seed=1).auc
    assert "over pairs, 1,000 resamples, seed 0" in bootstrap(*pairs).method


def test_no_error_at_all_is_no_proof_of_perfection():
    """60 genuine and 100 impostor pairs without an error: EER up to 1 − 0.025^(1/60) = 6 %."""
    same = np.arange(160) < 60
    found = bootstrap(np.where(same, 0.9, 0.1) + np.linspace(0, 0.01, 160), same)
    assert found.eer == (0, pytest.approx(0.0596, abs=1e-4))
    assert found.auc == (pytest.approx(1 - 0.0596, abs=1e-4), 1)
    assert found.tar_at_far[0.1] == (pytest.approx(1 - 0.0596, abs=1e-4), 1)


def test_no_interval_where_nothing_is_measured():
    found = bootstrap(*sample(50, 50))
    assert list(found.tar_at_far) == [0.1, 0.01, 0.001, 0.0001]
    assert [found.tar_at_far[far] is None for far in found.tar_at_far] == [False, True, True, True]


def test_pairs_that_share_images_know_less():
    """20 probes with a quality of their own, 40 pairs each: the pairs are far from independent."""
    rng = np.random.default_rng(0)
    probe = np.repeat(np.arange(20), 40)
    partner = 20 + np.arange(800)
    same = np.arange(800) % 2 == 0
    scores = 0.3 * same + rng.normal(0, 0.2, 20)[probe] + rng.normal(0, 0.05, 800)
    clusters = np.column_stack([probe, partner])
    plain, clustered = bootstrap(scores, same), bootstrap(scores, same, clusters=clusters)
    assert np.diff(clustered.auc) > 2 * np.diff(plain.auc)
    assert "images or persons" in clustered.method


def test_weights_of_clusters_by_hand():
    """A pair within one cluster counts c times, one across two c·d times."""
    scores, same = np.array([0.9, 0.1, 0.5]), np.array([True, False, False])
    clusters = np.array([[7, 7], [7, 9], [9, 4]])
    values = resampled(
        scores,
        same,
        lambda r: np.column_stack([r.genuine[:, -1], r.impostor[:, 1:]]),
        clusters,
        500,
    )
    c = values[:, 0]  # of cluster 7
    products = np.column_stack([values[:, 1], values[:, 2] - values[:, 1]])
    possible = {
        (a, a * b, b * d)
        for a in range(4)
        for b in range(4 - a)
        for d in [3 - a - b]
        if a and (a * b or b * d)
    }
    assert {tuple(row) for row in np.column_stack([c, products]).tolist()} == possible


def test_the_band_is_that_of_the_table():
    pairs = sample()
    low, high = tar_band(*pairs, np.array([0.01, 0.1]))
    assert (low[1], high[1]) == bootstrap(*pairs, fars=(0.01, 0.1)).tar_at_far[0.1]


def test_memory_is_bounded(monkeypatch):
    """In pieces of a few resamples, and as many in all."""
    monkeypatch.setattr("fggb_jax.evaluation.resampling._AT_ONCE", 2000)
    sizes = []

    def statistics(rejected):
        sizes.append(len(rejected.genuine))
        return area(rejected)[:, None]

    assert len(resampled(*sample(), statistics, resamples=103)) == sum(sizes) == 103
    assert max(sizes) <= 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clusters": np.zeros((3, 2), int)}, r"clusters of shape \(3, 2\)"),
        ({"clusters": np.zeros((400, 2))}, "type float64"),
        ({"clusters": np.zeros(400, int)}, r"shape \(400,\)"),
        ({"resamples": 1}, "takes 2 at least"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(fx.OptionError, match=message):
        bootstrap(*sample(), **options)


def test_six_thousand_pairs_take_seconds():
    import time

    start = time.process_time()
    bootstrap(*sample(3000, 3000))
    assert time.process_time() - start < 5

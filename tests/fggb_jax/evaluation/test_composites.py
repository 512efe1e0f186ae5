import numpy as np
import pytest

import fggb_jax as fx
from fggb_jax.evaluation.composites import AREA, composite, draw_region
from fggb_jax.evaluation.judgement import Case


def case(seed=0, size=(40, 32)):
    """Two noise images; the other face is bright, so that soft edges can be told."""
    rng = np.random.default_rng(7)
    a = rng.uniform(0, 0.4, (*size, 3)).astype(np.float32)
    others = rng.uniform(0.6, 1, (2, *size, 3)).astype(np.float32)
    return Case(None, a, a.copy(), True, 0.3, others, a, seed)


@pytest.mark.parametrize("blend", ["seamless", "soft"])
@pytest.mark.parametrize("seed", range(4))
def test_only_the_region_changes(blend, seed):
    given = case(seed)
    made = composite(given, blend)
    assert made.image.dtype == np.float32
    assert made.image.min() >= 0
    assert made.image.max() <= 1
    changed = (made.image != given.probe).any(-1)
    assert not changed[~made.region].any()
    assert changed[made.region].mean() > 0.9


def test_a_soft_edge_fades_and_its_middle_is_the_other_face():
    rng = np.random.default_rng(0)
    a = rng.uniform(0, 0.4, (112, 112, 3)).astype(np.float32)
    given = Case(None, a, a, True, 0.3, np.ones((1, 112, 112, 3), np.float32), a)
    made = composite(given, "soft")
    weight = ((made.image - a) / (1 - a)).mean(-1)
    assert weight[made.region].max() == pytest.approx(1, abs=1e-6)
    beside = made.region & ~np.roll(made.region, 1, 0)  # the region's first row
    assert weight[beside].max() < 0.5


def test_seamless_has_no_step_at_the_boundary():
    """Flat faces of two colours: Poisson cloning leaves nothing of the difference, a mix does."""
    flat = np.full((40, 32, 3), 0.3, np.float32)
    given = Case(None, flat, flat, True, 0.3, np.full((1, 40, 32, 3), 0.8, np.float32), flat)
    np.testing.assert_allclose(composite(given).image, 0.3, atol=1e-4)
    assert composite(given, "soft").image.max() > 0.6


def test_all_methods_are_given_the_same_composite_and_pairs_are_not():
    first, again, other = composite(case(1)), composite(case(1)), composite(case(2))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.region, again.region)
    assert (first.region != other.region).any()


def test_it_is_blended_once_for_a_case():
    given = case()
    assert composite(given) is composite(given)
    assert composite(given, "soft") is not composite(given)


@pytest.mark.parametrize("size", [(112, 112), (150, 100)])
def test_regions_have_the_area_that_is_said_and_lie_everywhere(size):
    rng = np.random.default_rng(0)
    regions = np.stack([draw_region(rng, size) for _ in range(300)])
    areas = regions.mean((1, 2))
    assert areas.min() > 0.95 * AREA[0]
    assert areas.max() < 1.05 * AREA[1]
    assert areas.mean() == pytest.approx(np.mean(AREA), abs=0.01)
    assert regions.any(0).mean() > 0.95  # the very corners are in few rectangles and no ellipse
    # As often left as right, above as below.
    for axis, length in ((1, size[0]), (2, size[1])):
        cover = regions.mean((0, 3 - axis))
        assert cover[: length // 2].mean() == pytest.approx(cover[-(length // 2) :].mean(), rel=0.2)


def test_regions_are_rectangles_and_ellipses_wholly_in_the_image():
    rng, full = np.random.default_rng(1), []
    for _ in range(200):
        region = draw_region(rng, (60, 60))
        y, x = (np.flatnonzero(region.any(axis)) for axis in (1, 0))
        sides = np.ptp(y) + 1, np.ptp(x) + 1
        assert 0.4 < sides[0] / sides[1] < 2.5
        full.append(region.sum() / np.prod(sides))
    full = np.array(full)
    boxes = full == 1
    assert 0.35 < boxes.mean() < 0.65
    # Of an ellipse that is cut off at the image's edge more of its box would be filled.
    np.testing.assert_allclose(full[~boxes], np.pi / 4, atol=0.05)


def test_even_a_tiny_image_has_a_region():
    rng = np.random.default_rng(0)
    for _ in range(50):
        region = draw_region(rng, (4, 4))
        assert region.any()
        assert not region.all()


def test_another_blend_is_refused():
    with pytest.raises(fx.OptionError, match="choose one of seamless, soft"):
        composite(case(), "alpha")

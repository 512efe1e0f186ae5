import numpy as np
import pytest

from fggb_jax.report import colors
from fggb_jax.report.colors import FACES, KINDS

ZERO = np.zeros((8, 8))


def spot(value, shape=(8, 8)):
    values = np.zeros(shape)
    values[2, 3] = value
    return values


def test_the_maps_of_a_pair_share_one_scale_and_the_pair_specific_has_its_own(make):
    e = make([(spot(4.0), ZERO), (spot(-8.0), ZERO + 1)], cosine=0.5, threshold=0.25)
    panels = colors.panels(e)
    four = {panels[kind][face].scale for kind in KINDS[:3] for face in FACES}
    assert four == {8.25}  # |−8 − 0.25·1|, of the gallery
    assert {panels["pair_specific"][face].scale for face in FACES} == {8.5}


def test_a_weak_map_looks_weak(make):
    """Half the value, on the common scale, takes the colour of the scale's middle."""
    e = make([(spot(1.0), ZERO), (spot(2.0), ZERO)])
    probe = colors.panels(e)["similarity"]["probe"].overlay()
    np.testing.assert_array_equal(probe[2, 3], colors.table_of("similarity")[128])


def test_an_empty_map_has_no_colours_at_all(one_sided):
    panel = colors.panels(one_sided)["dissimilarity"]["probe"]
    assert panel.empty
    assert panel.share == 0
    assert not panel.overlay().any()
    assert not colors.panels(one_sided)["similarity"]["probe"].empty


def test_what_rounding_leaves_of_p_minus_t_q_is_no_map(make):
    q = np.random.default_rng(0).random((8, 8)).astype(np.float32) + 1
    p = q * np.float32(0.5) * np.float32(1 + 2e-7)
    panels = colors.panels(make([(p, q), (p, q)], cosine=0.5, threshold=0.25))
    assert np.any(panels["pair_specific"]["probe"].values)
    assert panels["pair_specific"]["probe"].empty
    assert not panels["similarity"]["probe"].empty


LOW_HALF = np.where(np.arange(8) < 4, -0.04, 0) * np.ones((8, 1))


@pytest.mark.parametrize(
    ("negative", "elsewhere", "empty"),
    [
        (spot(-0.9), 0.8, False),  # 1.7 % of the mass, but a clear spot
        (LOW_HALF, 0.01, False),  # nowhere above 5 % of the scale, but half of the mass
        (spot(-0.04), 0.8, True),  # neither
    ],
)
def test_empty_means_little_mass_and_nowhere_high(make, negative, elsewhere, empty):
    signed = np.where(negative == 0, elsewhere, negative)
    signed[0, 7] = 1.0
    panel = colors.panels(make([(signed, ZERO), (signed, ZERO)]))["dissimilarity"]["probe"]
    assert panel.empty is empty
    assert panel.overlay().any() != empty


def test_a_faint_side_is_named_with_its_share(faint):
    panel = colors.panels(faint)["dissimilarity"]["probe"]
    assert panel.empty
    assert 0 < panel.share < colors.EMPTY_SHARE


def test_all_zero_maps_are_empty(make):
    panels = colors.panels(make([(ZERO, ZERO), (ZERO, ZERO)]), smoothing=1)
    assert all(panels[kind][face].empty for kind in KINDS for face in FACES)
    assert panels["similarity"]["probe"].share is None


def test_the_signs_of_a_signed_map_take_the_tables_of_the_split_maps(portraits):
    panels = colors.panels(portraits)
    signed, values = panels["signed"]["probe"].overlay(), panels["signed"]["probe"].values
    for kind, side in (("similarity", values > 0), ("dissimilarity", values < 0)):
        np.testing.assert_array_equal(signed[side], panels[kind]["probe"].overlay()[side])


def test_a_cosine_rounded_above_one_is_displayed(make):
    panels = colors.panels(make([(spot(1.0), ZERO + 1)] * 2, cosine=1 + 1e-7))
    assert not panels["pair_specific"]["probe"].empty


def test_pixels_without_a_value_are_blank_and_counted(make):
    p = spot(1.0)
    p[0, :2] = np.nan, np.inf
    e = make([(p, ZERO), (spot(1.0), ZERO)])
    panel = colors.panels(e)["similarity"]["probe"]
    assert colors.blank_pixels(e) == 2
    assert panel.scale == 1
    assert not panel.overlay()[0, :, 3].any()


def test_smoothing_keeps_the_mass_and_the_place():
    values = spot(1.0, (9, 12))
    smooth = colors.smooth(values, 2.0)
    assert smooth.sum() == pytest.approx(1, rel=1e-5)
    assert np.unravel_index(smooth.argmax(), smooth.shape) == (2, 3)
    np.testing.assert_allclose(colors.smooth(values.T, 2.0), smooth.T, rtol=1e-6)
    np.testing.assert_array_equal(colors.smooth(values, 0), values.astype(np.float32))


def test_smoothing_is_for_display_and_changes_no_verdict_on_emptiness(portraits):
    raw, smooth = colors.panels(portraits), colors.panels(portraits, smoothing=3)
    for kind in KINDS:
        for face in FACES:
            assert smooth[kind][face].share == raw[kind][face].share
            assert smooth[kind][face].empty == raw[kind][face].empty
    assert smooth["signed"]["probe"].scale < raw["signed"]["probe"].scale


@pytest.mark.parametrize("kind", ["similarity", "dissimilarity"])
def test_colours_darken_evenly_and_grow_more_opaque(kind):
    table = colors.table_of(kind).astype(float)
    light = 116 * np.cbrt(((table[:, :3] / 255) ** 2.2) @ [0.2126, 0.7152, 0.0722]) - 16
    assert (np.diff(light[::8]) < 0).all()
    steps = -np.diff(light[::32])
    assert steps.max() < 1.7 * steps.min()
    assert table[0, 3] == 0
    assert (np.diff(table[:, 3]) >= 0).all()


def test_the_two_ends_differ_for_red_blind_and_green_blind_eyes():
    """Simulated after Viénot, Brettel and Mollon 1999: in both, blue stays apart from orange."""
    to_lms = np.array([[17.8824, 43.5161, 4.1193], [3.4557, 27.1554, 3.8671], [0.03, 0.184, 1.467]])
    red_blind = np.array([[0, 2.0234, -2.5258], [0, 1, 0], [0, 0, 1]])
    green_blind = np.array([[1, 0, 0], [0.4942, 0, 1.2483], [0, 0, 1]])
    ends = np.stack([colors.table_of(kind)[160, :3] / 255 for kind in KINDS[:2]]) ** 2.2
    for blind in (red_blind, green_blind):
        seen = ends @ to_lms.T @ blind.T @ np.linalg.inv(to_lms).T
        assert np.abs(seen[0] - seen[1]).max() > 0.25

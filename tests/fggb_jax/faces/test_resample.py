import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fggb_jax.data import samples
from fggb_jax.faces import resample as module
from fggb_jax.faces import similarity
from fggb_jax.faces.resample import resample


def turn(scale, angle=0.0, shift=(0.0, 0.0)):
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, shift[0]], [s, c, shift[1]]])


def enlarge(scale):
    """About pixel corners, as resizing does."""
    return turn(scale, shift=((scale - 1) / 2, (scale - 1) / 2))


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def test_the_identity_changes_nothing():
    image = noise(20, 30)
    for edge in ("blend", "cut", "replicate"):
        np.testing.assert_array_equal(resample(image, turn(1), (20, 30), edge), image)


@pytest.mark.parametrize("shift", [(3, -2), (-40, 0), (0, 25), (500, 500), (-20, -30)])
def test_a_shift_by_whole_pixels_leaves_black_behind(shift):
    image = noise(20, 30)
    found = resample(image, turn(1, shift=shift), (20, 30))
    y, x = np.mgrid[:20, :30]
    y, x = y - shift[1], x - shift[0]
    inside = (y >= 0) & (y < 20) & (x >= 0) & (x < 30)
    expected = np.where(inside[..., None], image[np.clip(y, 0, 19), np.clip(x, 0, 29)], 0)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(resample(image, turn(1, shift=shift), (20, 30), "cut"), expected)


@pytest.mark.parametrize("factor", [1.0, 1.0001, 1.3, 2.0, 3.7])
def test_making_smaller_averages_the_interpolated_image_under_a_tent(factor):
    row = np.random.default_rng(0).uniform(0, 255, 120)
    image = np.broadcast_to(row[None, :, None], (60, 120, 1))
    found = resample(image, turn(1 / factor, shift=(0.3, -5)), (1, 20))[0, 4:, 0]
    centres = (np.arange(4, 20) - 0.3) * factor
    radius = np.sqrt(factor**2 - 1)
    offsets = np.linspace(-radius, radius, 20_001)
    tent = 1 - np.abs(offsets) / max(radius, 1e-9) if radius else np.ones_like(offsets)
    values = np.interp(centres[:, None] + offsets, np.arange(120), row)
    expected = (values * tent).sum(axis=1) / tent.sum()
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.01)


@pytest.mark.parametrize("factor", [4, 8])
def test_making_much_smaller_is_near_pillows_antialiased_filter(factor):
    image = samples.photograph("biden")[:320, :320]
    size = (320 // factor, 320 // factor)
    theirs = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
    ours = resample(image, enlarge(1 / factor), size)
    difference = (ours - theirs.astype(float))[3:-3, 3:-3]
    assert np.abs(difference).mean() < 1
    assert np.abs(difference.mean()) < 0.1


@given(
    scale=st.floats(1.0, 3.0), angle=st.floats(-3, 3), x=st.floats(-20, 20), y=st.floats(-20, 20)
)
@settings(max_examples=25, deadline=None)
def test_without_making_smaller_it_is_opencvs_warp(scale, angle, x, y):
    cv2 = pytest.importorskip("cv2")
    image = np.asarray(Image.fromarray(noise(8, 8)).resize((40, 40), Image.Resampling.BICUBIC))
    matrix = turn(scale, angle, (x, y))
    theirs = cv2.warpAffine(image.astype(np.float32), matrix, (50, 50))
    ours = resample(image, matrix, (50, 50))
    # OpenCV's coordinates may be rounded to 1/32 of a pixel.
    assert np.abs(ours - theirs).mean() < 1
    assert np.quantile(np.abs(ours - theirs), 0.99) < 12


@pytest.mark.parametrize(
    ("factor", "period"),
    [(2, 2), (3.3, 2), (3.3, 2.7), (5, 2.7), (9, 2), (9, 5), (13.4, 2.7), (31, 2), (31, 9)],
)
def test_a_pattern_too_fine_for_the_result_becomes_grey(factor, period):
    side = int(40 * factor)
    y, x = np.mgrid[:side, :side]
    pattern = 127.5 + 127.5 * np.cos(2 * np.pi * (x * 0.8 + y * 0.6) / period)
    found = resample(pattern[..., None], turn(1 / factor, 0.3), (40, 40), "replicate")
    inner = found[12:24, 12:24]
    assert abs(inner.mean() - 127.5) < 3
    assert inner.std() < 10
    # What interpolation alone makes of it.
    picked = pattern[(y[::7, ::7] * 1.37).astype(int) % side, x[::7, ::7]]
    assert picked.std() > 60


@given(factor=st.floats(0.3, 20), angle=st.floats(-3, 3), x=st.floats(-5, 5), y=st.floats(-5, 5))
@settings(max_examples=40, deadline=None)
def test_a_ramp_keeps_its_place_at_every_scale(factor, angle, x, y):
    """No shift creeps in, at whole blocks or between them."""
    side = int(60 * factor) + 40
    rows, columns = np.mgrid[:side, :side].astype(np.float64)
    ramp = np.stack([columns, rows], axis=-1)
    centre = np.full(2, side / 2)
    matrix = turn(1 / factor, angle)
    matrix[:, 2] = np.array([10 + x, 10 + y]) - matrix[:, :2] @ centre
    found = resample(ramp, matrix, (20, 20))
    v, u = np.mgrid[:20, :20]
    expected = similarity.apply(similarity.invert(matrix), np.stack([u, v], axis=-1).astype(float))
    margin = 3 * factor + 4
    inside = ((expected > margin) & (expected < side - 1 - margin)).all(axis=-1)
    np.testing.assert_allclose(found[inside], expected[inside], rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("factor", [1, 2.5, 7])
def test_edges(factor):
    white = np.full((70, 70, 1), 255, np.uint8)
    matrix = turn(1 / factor, shift=(4.4, 3.7))
    blend, cut, on = (
        resample(white, matrix, (30, 30), e)[..., 0] for e in ("blend", "cut", "replicate")
    )
    np.testing.assert_allclose(on, 255, rtol=1e-6)
    assert np.unique(np.rint(cut)).tolist() == [0, 255]
    np.testing.assert_allclose(cut[4:8, 5:9], 255, rtol=1e-6)
    assert (cut[:, :5] == 0).all()
    assert (cut[:4] == 0).all()
    assert (blend[6, 4] > 20) & (blend[6, 4] < 235)
    assert (blend[:, :2] < 20).all()
    assert blend[6:8, 7:9].min() == pytest.approx(255, abs=1e-3)


@pytest.mark.parametrize("factor", [1, 3.9, 7])
def test_far_beyond_the_image_its_outermost_pixels_go_on(factor):
    image = noise(20, 30)
    matrix = turn(1 / factor, shift=(100, 90))
    found = resample(image, matrix, (200, 210), "replicate")
    for row, y in ((0, 0), (199, -1)):
        for column, x in ((0, 0), (209, -1)):
            np.testing.assert_allclose(found[row, column], image[y, x], rtol=1e-6, atol=1e-5)


def test_bands_do_not_show(monkeypatch):
    image = noise(60, 80)
    matrix = turn(0.7, 0.4, (3, -5))
    whole = resample(image, matrix, (50, 60))
    monkeypatch.setattr(module, "BAND", 7 * 60)
    np.testing.assert_array_equal(resample(image, matrix, (50, 60)), whole)

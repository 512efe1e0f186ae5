import numpy as np
import pytest

import fggb_jax as fx
from fggb_jax.attribution.frequency import band_values
from hidden_parts import SIZE, by_cosine, compared, curved_model, face_map, faces, to_the_first_axis
from tolerances import assert_close


def wave(down, right, shape=SIZE):
    y, x = np.indices(shape)
    return np.cos(2 * np.pi * (down * y / shape[0] + right * x / shape[1]))


def test_a_wave_that_is_read_is_found_at_its_frequency():
    """0.5 + 0.3·wave: its ring, and no other, holds what a model of the wave reads."""
    known = wave(2, 3)
    read = by_cosine(lambda grey: 2 * (grey * known).mean((1, 2)))
    image = np.float32(np.repeat((0.5 + 0.3 * known)[..., None], 3, -1))
    s = face_map(to_the_first_axis(read, image), "frequency", bands=5)
    radius = np.hypot(
        *np.meshgrid(*(np.fft.fftshift(np.fft.fftfreq(n)) for n in SIZE), indexing="ij")
    )
    middle = SIZE[0] // 2, SIZE[1] // 2
    assert radius[middle] == 0
    band = np.ceil(5 * radius / radius.max() - 1e-9)
    its = band == band[middle[0] + 2, middle[1] + 3]
    assert_close(s[its], np.full(its.sum(), 0.3), 1e-5)
    assert np.abs(s[~its]).max() < 1e-6


def test_what_lowers_the_cosine_is_negative():
    known = wave(1, 0)
    read = by_cosine(lambda grey: 0.5 - 2 * (grey * known).mean((1, 2)))
    image = np.float32(np.repeat((0.5 + 0.3 * known)[..., None], 3, -1))
    s = face_map(to_the_first_axis(read, image), "frequency", bands=5)
    assert_close(s.min(), np.float64(-0.3), 1e-5)


def test_bands_by_loops():
    model, pair = curved_model(), faces()
    c = compared(model, pair)
    edges, values = band_values(c, 3)
    down, right = (np.fft.fftfreq(n) for n in SIZE)
    radius = np.sqrt(down[:, None] ** 2 + right**2)
    assert_close(edges, np.linspace(0, radius.max(), 4))
    for low, high, value in zip(edges[:-1], edges[1:], values, strict=True):
        spectrum = np.fft.fft2(pair[0].transpose(2, 0, 1))
        spectrum[:, (radius > low) & (radius <= high)] = 0
        image = np.fft.ifft2(spectrum).real.transpose(1, 2, 0).clip(0, 1)
        z = np.asarray(model.embed(np.float32(image)[None]))[0]
        np.testing.assert_allclose(value, c.cosine - z @ c.target / np.linalg.norm(z), atol=1e-5)
    assert c.forwards == 3


def test_the_plane_has_the_bands_values_and_none_for_the_mean_colour():
    model, pair = curved_model(), faces()
    s = face_map(compared(model, pair), "frequency", bands=4)
    _, values = band_values(compared(model, pair), 4)
    assert s[SIZE[0] // 2, SIZE[1] // 2] == 0
    assert {*np.unique(s)} == {0, *values}
    assert_close(s[0, 0], values[-1])  # the corner is the finest detail
    assert_close(s[SIZE[0] // 2, SIZE[1] // 2 + 1], values[0])


def test_the_usual_bands_are_four_cycles_wide():
    read = by_cosine(lambda grey: grey[:, 50, 60] / 2, (112, 112))
    c = to_the_first_axis(read, faces(size=(112, 112))[0])
    edges, values = band_values(c)
    assert c.forwards == len(values) == 20
    assert 3.5 < np.diff(edges * 112).max() <= 4


@pytest.mark.parametrize("bands", [0, -2, 1.5])
def test_bands_that_make_no_sense(bands):
    with pytest.raises(fx.OptionError, match=rf"bands is {bands}; give a whole number, 1"):
        face_map(compared(curved_model(), faces()), "frequency", bands=bands)

"""The pyramid's geometry by hand; that it is dlib's the detector's tests show."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fggb_jax.faces.pyramid import resized, tile

LAYOUT = {"rate": 6, "padding": 10, "outer_padding": 11}


@given(st.integers(10, 1500), st.integers(10, 1500))
def test_tiles(height, width):
    tiles = tile(height, width, **LAYOUT)
    left, top, wide, high = tiles.boxes.T
    assert tiles.boxes[0].tolist() == [11, 11, width, height]
    assert tiles.width == width + 22
    assert min(left.min(), top.min()) >= 11
    assert (left + wide).max() <= tiles.width - 11
    assert (top + high).max() <= tiles.height - 11
    assert (high[1:] == (high[:-1] * (5 / 6)).astype(int)).all()
    # Apart by the padding, above one another or side by side.
    across = np.maximum(left[:, None] - (left + wide), (left - (left + wide)[:, None]))
    down = np.maximum(top[:, None] - (top + high), (top - (top + high)[:, None]))
    apart = np.maximum(across, down) + np.eye(len(left), dtype=int) * 10_000
    assert apart.min() >= 0


def test_tiles_by_hand():
    """The column breaks before the sixth level, which fits beside the fifth: 39 + 10 + 47 ≤ 100."""
    tiles = tile(30, 100, **LAYOUT)
    assert (tiles.height, tiles.width) == (166, 122)
    assert tiles.boxes.tolist() == [
        [11, 11, 100, 30],
        [11, 51, 83, 25],
        [11, 86, 69, 20],
        [11, 116, 57, 16],
        [11, 142, 47, 13],
        [72, 145, 39, 10],
        [79, 127, 32, 8],
        [85, 111, 26, 6],
        [90, 96, 21, 5],
    ]


def test_resized_keeps_the_corners_and_ramps():
    y, x = np.mgrid[:7, :13].astype(np.float32)
    ramp = resized(np.stack([y, x, 2 * x - y]), 4, 5)
    np.testing.assert_allclose(ramp[0], np.repeat(np.linspace(0, 6, 4)[:, None], 5, 1), rtol=1e-6)
    np.testing.assert_allclose(ramp[1], np.repeat(np.linspace(0, 12, 5)[None], 4, 0), rtol=1e-6)
    np.testing.assert_allclose(ramp[2], 2 * ramp[1] - ramp[0], atol=1e-5)
    assert ramp.dtype == np.float32
    np.testing.assert_array_equal(resized(ramp, 4, 5), ramp)

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fggb_jax.faces import similarity
from fggb_jax.faces.draw_back import outline, to_photo
from fggb_jax.faces.resample import resample


def placed(scale, angle, centre, side):
    """Photograph → chip, the chip's middle at `centre`, the face `1 / scale` times its size."""
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.array([[c, -s], [s, c]])
    return np.column_stack([linear, (side - 1) / 2 - linear @ np.array(centre)])


def smooth(height, width, phase):
    y, x = np.mgrid[:height, :width] / 24
    return (np.sin(x + phase) * np.cos(y - phase) + 0.3 * x).astype(np.float32)


@given(
    scale=st.floats(0.25, 1.5),
    angle=st.floats(-np.pi, np.pi),
    x=st.floats(20, 140),
    y=st.floats(20, 100),
    phase=st.floats(0, 6),
)
@settings(max_examples=30, deadline=None)
def test_a_smooth_map_comes_back_from_the_photograph(scale, angle, x, y, phase):
    values = smooth(40, 40, phase)
    matrix = placed(scale, angle, (x, y), 40)
    drawn = to_photo(values, matrix, (120, 160))
    assert drawn.dtype == np.float32
    assert drawn.shape == (120, 160)
    back = resample(drawn[..., None], matrix, (40, 40))[..., 0]
    v, u = np.mgrid[:40, :40]
    at = similarity.apply(similarity.invert(matrix), np.stack([u, v], -1).astype(float))
    seen = ((at > 3) & (at < [156, 116])).all(axis=-1)
    edge = int(np.ceil(2 + 2 * max(1, scale)))
    seen[:edge] = seen[-edge:] = False
    seen[:, :edge] = seen[:, -edge:] = False
    np.testing.assert_allclose(back[seen], values[seen], rtol=0, atol=0.02)


@given(
    scale=st.floats(0.25, 3),
    angle=st.floats(-np.pi, np.pi),
    x=st.floats(-60, 220),
    y=st.floats(-60, 180),
)
@settings(max_examples=30, deadline=None)
def test_it_is_what_the_map_has_inside_the_outline_and_zero_outside(scale, angle, x, y):
    matrix = placed(scale, angle, (x, y), 30)
    drawn = to_photo(np.full((30, 30), 7.0), matrix, (120, 160))
    corners = outline(matrix, (30, 30))
    rows, columns = np.mgrid[:120, :160]
    points = np.stack([columns, rows], axis=-1).astype(float)
    # How far each pixel lies within the four edges, which run clockwise on the screen.
    edges = np.roll(corners, -1, axis=0) - corners
    length = np.linalg.norm(edges, axis=1)
    depth = np.min(
        [
            (e[0] * (points[..., 1] - c[1]) - e[1] * (points[..., 0] - c[0])) / n
            for c, e, n in zip(corners, edges, length, strict=True)
        ],
        axis=0,
    )
    np.testing.assert_allclose(length, 30 / scale)
    np.testing.assert_allclose(drawn[depth > 1e-6], 7, rtol=1e-5)
    assert (drawn[depth < -1e-6] == 0).all()


def test_the_identity_and_a_shift_keep_every_value():
    values = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    matrix = np.array([[1.0, 0, -3], [0, 1, -2]])
    drawn = to_photo(values, matrix, (20, 30))
    np.testing.assert_array_equal(drawn[2:7, 3:11], values)
    assert np.count_nonzero(drawn) == 40
    np.testing.assert_array_equal(
        outline(matrix, (5, 8)), [[2.5, 1.5], [10.5, 1.5], [10.5, 6.5], [2.5, 6.5]]
    )


def test_a_map_in_a_small_photograph_is_averaged_not_picked():
    rows, columns = np.mgrid[:120, :120]
    values = ((rows + columns) % 2).astype(np.float32)
    drawn = to_photo(values, placed(4, 0.2, (20, 20), 120), (40, 40))
    np.testing.assert_allclose(drawn[8:32, 8:32], 0.5, atol=0.02)


@pytest.mark.parametrize("centre", [(-500, 50), (50, 9000)])
def test_a_chip_beside_the_photograph_leaves_it_empty(centre):
    assert not to_photo(np.ones((30, 30)), placed(1, 0.3, centre, 30), (120, 160)).any()

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fggb_jax.faces.canvas import draw


def coordinates(height, width):
    """An image whose red is x and whose green is y."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y, np.full_like(x, 255)], axis=-1).astype(np.uint8)


def test_a_whole_photograph_at_its_own_size():
    image = coordinates(40, 60)
    found = draw(image, 64, 1.0)
    np.testing.assert_array_equal(found.pixels[:40, :60], image)
    assert not found.pixels[40:].any()
    assert not found.pixels[:, 60:].any()
    points = np.array([[0.0, 0.0], [12.5, 30.0]])
    np.testing.assert_array_equal(found.to_photo(points), points)


@settings(max_examples=40, deadline=None)
@given(
    scale=st.floats(0.3, 4),
    left=st.floats(-80, 160),
    top=st.floats(-80, 120),
    width=st.floats(20, 200),
    height=st.floats(20, 200),
)
def test_pixels_are_found_again_in_the_photograph(scale, left, top, width, height):
    image = coordinates(160, 240)
    found = draw(image, 96, scale, (left, top, left + width, top + height))
    drawn = found.pixels[..., 2] == 255
    rows, columns = np.nonzero(drawn)
    assert drawn[: rows.max() + 1, : columns.max() + 1].all()
    at = found.to_photo(np.stack([columns, rows], axis=-1).astype(float))
    inner = ((at > 4) & (at < [235, 155])).all(axis=-1)
    inner &= (columns > 2) & (rows > 2) & (columns < columns.max() - 2) & (rows < rows.max() - 2)
    values = found.pixels[rows, columns, :2].astype(float)
    np.testing.assert_allclose(values[inner], at[inner], rtol=0, atol=0.8)


def test_boxes_go_the_way_of_their_corners():
    found = draw(coordinates(100, 100), 50, 0.5, (20, 10, 90, 80))
    box = np.array([[3.0, 4.0, 13.0, 24.0]])
    corners = found.to_photo(box.reshape(2, 2))
    np.testing.assert_array_equal(found.boxes_to_photo(box), corners.reshape(1, 4))
    np.testing.assert_allclose(corners, [[26.5, 18.5], [46.5, 58.5]])


@pytest.mark.parametrize("part", [(900, 10, 950, 60), (-90, -90, -50, -50)])
def test_a_part_beside_the_photograph_is_at_most_a_line_at_its_edge(part):
    found = draw(coordinates(100, 100), 32, 1.0, part)
    assert np.count_nonzero(found.pixels[..., 2]) <= 32

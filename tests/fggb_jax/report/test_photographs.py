from dataclasses import replace

import numpy as np
import pytest

from fggb_jax.explanation import Placement
from fggb_jax.report import photographs, words

CHIP = (100, 80)


def turned(angle, scale, middle):
    """A matrix that cuts an upright chip of `CHIP` from around `middle` of a photograph."""
    a = np.radians(angle)
    linear = np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]) * scale
    centre = (np.array(CHIP[::-1]) - 1) / 2
    return np.column_stack([linear, centre - linear @ middle])


def ramps(height, width):
    """A photograph whose red and green say where a pixel lies, 8 pixels a level."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x // 8, y // 8, 0 * x], axis=-1).astype(np.uint8)


CASES = {
    "the whole of it": (ramps(300, 240), turned(10, 0.5, (120, 150)), 900, (300, 240)),
    "smaller": (ramps(1203, 1601), turned(-20, 0.15, (800, 600)), 640, (1203, 1601)),
    "cropped": (ramps(1200, 1600), turned(25, 0.5, (1000.3, 500.8)), 900, (440, 540)),
    "cropped and smaller": (ramps(1600, 2000), turned(35, 0.25, (900, 701)), 301, (880, 1080)),
    "along one side": (ramps(1800, 500), turned(0, 0.4, (250, 900)), 900, (550, 500)),
    "in a corner": (ramps(1200, 1600), turned(-40, 0.5, (1590, 20)), 900, (440, 540)),
}


@pytest.mark.parametrize("case", CASES)
def test_photograph_and_matrix_are_cut_and_made_smaller_together(case):
    photo, matrix, longest, part = CASES[case]
    view = photographs.view(Placement(photo, matrix), CHIP, longest)
    assert view.part == part
    assert view.whole == photo.shape[:2]
    assert max(view.photo.shape) == min(longest, max(part))
    # A pixel of the view, its place on the face, and from there its place in the photograph.
    y, x = np.mgrid[2 : view.photo.shape[0] - 2 : 7, 2 : view.photo.shape[1] - 2 : 7]
    at = np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    found = np.linalg.solve(matrix[:, :2], view.matrix @ at - matrix[:, 2:])
    seen = view.photo[y.ravel(), x.ravel(), :2].T
    # Levels are steps of 8 pixels: their middle is 3.5 on, and rounding hides half a level.
    error = 8 * seen.astype(float) + 3.5 - found
    assert np.abs(error).max() < 8.5
    assert np.abs(error.mean(axis=1)).max() < 0.5


@pytest.mark.parametrize("case", CASES)
def test_one_hot_pixel_lands_where_it_was_cut_from(case):
    photo, matrix, longest, _ = CASES[case]
    view = photographs.view(Placement(photo, matrix), CHIP, longest)
    values = np.zeros(CHIP, np.float32)
    values[51, 38] = 1
    drawn = view.draw(values, 960)
    n = drawn.shape[0] // view.photo.shape[0]
    assert drawn.shape == (n * view.photo.shape[0], n * view.photo.shape[1])
    y, x = np.mgrid[: drawn.shape[0], : drawn.shape[1]]
    centre = np.array([(x * drawn).sum(), (y * drawn).sum()]) / drawn.sum()
    centre = (centre + 0.5) / n - 0.5
    expected = np.linalg.solve(view.matrix[:, :2], [38, 51] - view.matrix[:, 2])
    np.testing.assert_allclose(centre, expected, atol=0.3)


def test_back_takes_corners_to_corners(placed):
    """A canvas counts from corners: the face's own are those of the outline."""
    view = photographs.views(placed, 900)["gallery"]
    corners = np.array([[0, 0, 1], [112, 0, 1], [112, 112, 1], [0, 112, 1]])
    np.testing.assert_allclose(corners @ view.back.T, view.outline + 0.5)


def test_the_outline_is_the_edge_of_what_is_drawn(placed):
    view = photographs.views(placed, 900)["probe"]
    y, x = np.nonzero(view.draw(np.ones(view.chip), 900))
    n = view.draw(np.ones(view.chip), 900).shape[0] / view.photo.shape[0]
    low, high = view.outline.min(axis=0), view.outline.max(axis=0)
    np.testing.assert_allclose([x.min() / n, y.min() / n], low + 0.5, atol=1)
    np.testing.assert_allclose([x.max() / n, y.max() / n], high + 0.5, atol=1)


def test_a_face_that_hangs_out_of_its_photograph():
    view = photographs.view(Placement(ramps(200, 300), turned(0, 1, (-30, 100))), CHIP, 900)
    assert view.photo.size
    assert view.outline[0, 0] < 0
    assert view.middle == (0, 100)


def test_no_view_unless_both_photographs_are_known(placed):
    assert photographs.views(replace(placed, probe_placement=None), 900) is None
    assert photographs.views(replace(placed, gallery_placement=None), 900) is None


@pytest.mark.parametrize(
    ("case", "text"),
    [
        ("the whole of it", "The whole photograph, 240 × 300 pixels"),
        ("cropped", "Cropped around the face: 540 × 440 of the photograph’s 1600 × 1200 pixels"),
    ],
)
def test_the_words_say_how_much_is_shown(case, text):
    photo, matrix, *_ = CASES[case]
    assert words.extent(photographs.view(Placement(photo, matrix), CHIP, 900)) == text

import jax
import numpy as np
import pytest

import fggb_jax as fx
from fggb_jax.attribution.rise import random_grids
from hidden_parts import SIZE, compared, curved_model, face_map, faces, linear, to_the_first_axis
from tolerances import assert_close


def test_masks_are_grids_enlarged_and_shifted():
    """By JAX's bilinear resize to a span of cells more than the image, and a crop."""
    grids = random_grids((20, 13), 9, 4, 0.5, 0)
    shapes = (9, 5 * 5, 5 * 4)  # a cell is 5×4 pixels: 20/4 and 13/4, rounded up
    large = np.asarray(jax.image.resize(grids.cells, shapes, "bilinear"))
    for mask, whole, (y, x) in zip(grids[:], large, grids.shifts, strict=True):
        assert_close(mask, whole[y : y + 20, x : x + 13], 1e-5)
    assert grids.shifts.min() == 0
    assert (grids.shifts.max(0) == [4, 3]).all()


def test_masks_do_not_depend_on_how_they_are_sliced():
    grids = random_grids(SIZE, 50, 7, 0.5, 3)
    parts = [grids[i : i + 7] for i in range(0, 50, 7)]
    np.testing.assert_array_equal(np.concatenate(parts), grids[:])
    assert grids[:].min() >= 0
    assert grids[:].max() <= 1


def test_the_share_that_is_kept():
    assert abs(random_grids(SIZE, 3000, 5, 0.8, 0)[:].mean() - 0.2) < 0.01


def test_the_mean_where_seen_less_the_mean_where_hidden():
    model, pair = curved_model(), faces()
    c = compared(model, pair)
    s = face_map(c, "rise", masks=40, cells=3, keep=0.6, fill="grey", seed=5)
    seen = 1 - np.float64(random_grids(SIZE, 40, 3, 0.6, 5)[:])
    images = seen[..., None] * pair[0] + (1 - seen[..., None]) * 0.5
    z = np.asarray(model.embed(np.float32(images)))
    cosines = z @ c.target / np.linalg.norm(z, axis=1)
    mean = lambda m: np.average(np.broadcast_to(cosines[:, None, None], m.shape), 0, m)  # noqa: E731
    assert_close(s, mean(seen) - mean(1 - seen), 1e-4)
    assert c.forwards == 40


def test_it_points_at_what_is_read():
    """A quarter that raises the cosine and one that lowers it."""
    w = np.zeros(SIZE)
    w[:7, :6], w[7:, 6:] = 0.01, -0.01
    s = face_map(to_the_first_axis(linear(w), np.ones((*SIZE, 3), np.float32)), "rise")
    assert s[1:6, 1:5].min() > 0 > s[8:13, 7:11].max()
    assert s[:7, 6:].max() < s[1:6, 1:5].max()


def test_what_is_never_hidden_has_nothing():
    s = face_map(compared(curved_model(), faces()), "rise", masks=2, cells=2, keep=0.9, seed=0)
    masks = random_grids(SIZE, 2, 2, 0.9, 0)[:]
    never = masks.max(0) == 0
    assert (s[never] == 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"masks": 1}, "masks is 1; give a whole number, 2 or more"),
        ({"forwards": 1}, "forwards is 1; give a whole number, 2 or more"),
        ({"cells": 0}, "cells is 0; give a whole number from 1 to 12"),
        ({"cells": 13}, "cells is 13"),
        ({"keep": 0}, "keep is 0; give a number between 0 and 1"),
        ({"keep": 1.0}, "keep is 1.0"),
        ({"fill": "red"}, "fill is 'red'"),
    ],
)
@pytest.mark.parametrize("name", ["rise", "srise"])
def test_options_that_make_no_sense(name, options, message):
    with pytest.raises(fx.OptionError, match=message):
        face_map(compared(curved_model(), faces()), name, **options)

import numpy as np
import pytest

import fggb_jax as fx
from fggb_jax.attribution.corrrise import correlation, random_patches, ranks
from fggb_jax.attribution.rise import random_grids
from hidden_parts import SIZE, compared, curved_model, face_map, faces, linear, to_the_first_axis
from tolerances import assert_close


def cosines(model, image, masks, c):
    z = np.asarray(model.embed(np.float32((1 - masks[..., None]) * image)))
    return z @ c.target / np.linalg.norm(z, axis=1)


def test_ranks_by_hand():
    values = np.float32([3, 1, 3, 7, 1, 1])
    assert_close(ranks(values), np.array([4.5, 2.0, 4.5, 6.0, 2.0, 2.0]))


def test_correlation_by_hand():
    """Four masks; a pixel seen in the best two, in the worst two, in all, in the middle two."""
    masks = 1 - np.float32([[[1, 0, 1, 0]], [[1, 0, 1, 1]], [[0, 1, 1, 1]], [[0, 1, 1, 0]]])
    r = correlation(masks, np.array([4.0, 3.0, 2.0, 1.0]))
    assert_close(r, np.array([[2 / 5**0.5, -2 / 5**0.5, 0, 0]]))


def test_equal_cosines_correlate_with_nothing():
    values = np.full(7, np.float32(0.1))
    masks = np.random.default_rng(0).integers(0, 2, (7, 3, 4)).astype(np.float32)
    assert (correlation(masks, values) == 0).all()


def test_patches_are_spearmans():
    stats = pytest.importorskip("scipy.stats")
    model, pair = curved_model(), faces()
    c = compared(model, pair)
    s = face_map(c, "corrrise", masks=30, size=5, patches=2, seed=4)
    masks = random_patches(SIZE, 30, 2, 5, 4)[:]
    values = cosines(model, pair[0], masks, c)
    compared_pixels = 0
    for place in np.ndindex(SIZE):
        seen = 1 - masks[:, *place]
        if np.ptp(seen) == 0:
            assert s[place] == 0
            continue
        compared_pixels += 1
        np.testing.assert_allclose(s[place], stats.spearmanr(seen, values)[0], atol=1e-10)
    assert compared_pixels > 100
    assert c.forwards == 30


def test_grids_are_pearsons():
    stats = pytest.importorskip("scipy.stats")
    model, pair = curved_model(), faces()
    c = compared(model, pair)
    s = face_map(c, "corrrise", recipe="grid", masks=40, cells=4, drop=0.3, seed=4)
    masks = np.float64(random_grids(SIZE, 40, 4, 0.7, 4)[:])
    values = cosines(model, pair[0], masks, c)
    for place in np.ndindex(SIZE):
        r = stats.pearsonr(1 - masks[:, *place], values)[0]
        np.testing.assert_allclose(s[place], r, atol=1e-4)


@pytest.mark.parametrize("recipe", ["patches", "grid"])
def test_signs(recipe):
    w = np.zeros(SIZE)
    w[:7, :6], w[7:, 6:] = 0.01, -0.01
    c = to_the_first_axis(linear(w), np.ones((*SIZE, 3), np.float32))
    s = face_map(c, "corrrise", recipe=recipe, cells=4, drop=0.3, size=4)
    assert s[1:6, 1:5].min() > 0.1
    assert s[8:13, 7:11].max() < -0.1
    assert np.abs(s).max() <= 1


def test_the_usual_masks():
    """Three patches of 30 pixels of 112, whole ones, everywhere."""
    masks = random_patches((112, 112), 60, 3, None, 0)[:]
    area = masks.sum((1, 2))
    assert area.max() <= 2700
    assert (area >= 900).all()
    assert masks.max(0)[[0, 0, -1, -1], [50, 60, 50, 60]].max() == 1
    one = random_patches((56, 40), 5, 1, None, 0)[:]
    assert (one.sum((1, 2)) == 225).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recipe": "rings"}, "recipe is 'rings'; choose one of patches, grid"),
        ({"patches": 0}, "patches is 0; give a whole number, 1 or more"),
        ({"size": 13}, "size is 13; give a whole number from 1 to 12"),
        ({"recipe": "grid", "drop": 1}, "drop is 1; give a number between 0 and 1"),
        ({"forwards": 1}, "forwards is 1; give a whole number, 2 or more"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(fx.OptionError, match=message):
        face_map(compared(curved_model(), faces()), "corrrise", **options)

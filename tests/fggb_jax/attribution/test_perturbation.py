import jax.numpy as jnp
import numpy as np
import pytest

import fggb_jax as fx
from fggb_jax.attribution import perturbation
from fggb_jax.attribution.perturbation import averaged, hidden_cosines, patches, total, windows
from hidden_parts import SIZE, compared, curved_model, faces
from tolerances import assert_close


def test_fills():
    image = np.float32([[[0, 0.5, 1], [1, 0.5, 0]], [[0, 0.5, 0], [0, 0.5, 0]]])
    fill = lambda fill: np.asarray(perturbation.fill_of(perturbation.jnp.asarray(image), fill))  # noqa: E731
    for name, value in (("black", 0), ("grey", 0.5), (0.2, 0.2), (1, 1)):
        assert_close(fill(name), np.full_like(image, value))
    assert_close(fill("mean"), np.broadcast_to(np.float32([0.25, 0.5, 0.25]), image.shape))
    for wrong in ("white", -0.1, 1.5, None):
        with pytest.raises(fx.OptionError, match="choose one of black, grey, mean, blur, or a"):
            fill(wrong)


def test_blur_is_scipys():
    scipy = pytest.importorskip("scipy.ndimage")
    image = np.random.default_rng(0).random((30, 21, 3), dtype=np.float32)
    theirs = scipy.gaussian_filter(image, 2.0, mode="nearest", truncate=3, axes=(0, 1))
    assert_close(np.asarray(perturbation.blurred(image, 2.0)), theirs)
    assert_close(np.asarray(perturbation.blurred(image, 0)), image)


@pytest.mark.parametrize(
    ("size", "stride", "forwards", "count"),
    [
        (None, None, None, 13 * 11),  # 2 pixels every 1, of 14×12
        (3, 2, None, 7 * 6),  # the last ones are at the edge though 2 does not divide 11 and 9
        (4, 4, None, 4 * 3),
        (4, 4, 6, 2 * 2),  # 5: 3×3, 6: 3×2 of 6 pixels each
        (3, 1, 2, 2),
        (12, 30, None, 2),
    ],
)
def test_patches_cover_the_image(size, stride, forwards, count):
    masks = patches((14, 12), size, stride, forwards)
    dense = masks[:]
    assert len(masks) == len(dense)
    assert len(masks) == count or (forwards and len(masks) <= forwards)
    assert set(np.unique(dense)) <= {0, 1}
    if stride is None or stride <= size or forwards:
        assert dense.max(0).min() == 1


def test_one_patch_is_a_whole_square_face():
    assert_close(patches((6, 6), 2, 1, 1)[:], np.ones((1, 6, 6), np.float32))


def test_patches_by_hand():
    dense = patches((4, 3), 2, 2)[:]
    assert dense.shape == (4, 4, 3)
    expected = [[[1, 1, 0]] * 2 + [[0] * 3] * 2, [[0, 1, 1]] * 2 + [[0] * 3] * 2]
    assert_close(dense[:2], np.float32(expected))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((0, None), "size is 0; give a whole number from 1 to 12"),
        ((13, None), "size is 13; give a whole number from 1 to 12"),
        ((2, 0), "stride is 0; give a whole number, 1 or more"),
        ((2, 1.5), "stride is 1.5"),
        ((2, 1, 1), "forwards is 1; give a whole number, 2 or more"),
    ],
)
def test_patches_that_make_no_sense(options, message):
    with pytest.raises(fx.OptionError, match=message):
        patches((14, 12), *options)


def test_soft_edges():
    """Half at the border, straight to 0 and 1 around it."""
    rows = windows((10, 1), np.array([[3, 0]]), 4, 4).rows[0]
    assert_close(rows, np.float32([0, 0.125, 0.375, 0.625, 0.875, 0.875, 0.625, 0.375, 0.125, 0]))
    hard = windows((6, 1), np.array([[1, 0], [2, 0]]), np.array([2, 3])).rows
    assert_close(hard, np.float32([[0, 1, 1, 0, 0, 0], [0, 0, 1, 1, 1, 0]]))


def test_sums_over_more_masks_than_a_part():
    rng = np.random.default_rng(0)
    masks = rng.random((2 * perturbation.PART + 3, 4, 5), dtype=np.float32)
    values = rng.normal(size=len(masks)).astype(np.float32)
    expected = np.einsum("k,khw->hw", np.float64(values), masks)
    assert_close(total(masks, values), expected)
    squares = np.einsum("k,khw->hw", np.float64(values), np.float64(masks) ** 2)
    assert_close(total(masks, values, np.square), squares, 1e-6)


def test_masks_hide_as_much_as_they_say():
    c = compared(curved_model(), faces())
    masks = np.zeros((3, *SIZE), np.float32)
    masks[1], masks[2, :, :4] = 1, 0.5
    images = np.repeat(np.asarray(c.image)[None], 3, 0)
    images[1] = 0.25
    images[2, :, :4] = 0.5 * images[2, :, :4] + 0.125
    expected = c.cosines(3, lambda part: jnp.asarray(images[part]))
    assert_close(hidden_cosines(c, masks, 0.25), expected, relative=1e-6)
    assert_close(expected[0], np.float32(c.cosine), relative=1e-6)


def test_means_of_what_covers_a_pixel():
    masks = np.float32([[[1, 1, 0]], [[0, 1, 0]]])
    assert_close(averaged(masks, np.array([2.0, 4.0])), np.array([[2.0, 3.0, 0.0]]))

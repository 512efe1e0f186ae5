import numpy as np
import pytest

from hidden_parts import compared, curved_model, face_map, faces, linear, to_the_first_axis, weights
from tolerances import assert_close


def test_disjoint_patches_of_a_linear_model():
    """Each patch has what its pixels add to the cosine."""
    w, image = weights(), faces()[0]
    part = w * image.mean(-1)
    c = to_the_first_axis(linear(w), image)
    s = face_map(c, "occlusion", size=2, stride=2, fill="black")
    expected = part.reshape(7, 2, 6, 2).sum((1, 3)).repeat(2, 0).repeat(2, 1)
    assert_close(s, expected, 1e-4)
    assert c.forwards == 42


@pytest.mark.parametrize("size", [1, 3])
def test_it_points_at_the_pixel_that_is_read(size):
    w = np.zeros((14, 12))
    w[5, 8], w[9, 5] = 0.6, -0.3
    s = face_map(to_the_first_axis(linear(w), np.ones((14, 12, 3), np.float32)), "occlusion",
                 size=size, stride=1, fill="black")  # fmt: skip
    assert np.unravel_index(s.argmax(), s.shape) == (5, 8)
    assert np.unravel_index(s.argmin(), s.shape) == (9, 5)
    assert_close(s[5, 8], np.float64(0.6), 1e-5)
    assert_close(s[9, 5], np.float64(-0.3), 1e-5)


def test_overlapping_patches_by_loops():
    model, pair = curved_model(), faces()
    c = compared(model, pair)
    s = face_map(c, "occlusion", size=4, stride=3, fill="grey")
    falls, counts = np.zeros((14, 12)), np.zeros((14, 12))
    for y in (0, 2, 5, 8, 10):  # the least even steps of 3 at most, on whole pixels
        for x in (0, 3, 5, 8):
            image = pair[0].copy()
            image[y : y + 4, x : x + 4] = 0.5
            z = np.asarray(model.embed(image[None]))[0]
            falls[y : y + 4, x : x + 4] += c.cosine - z @ c.target / np.linalg.norm(z)
            counts[y : y + 4, x : x + 4] += 1
    assert c.forwards == 20
    assert_close(s, falls / counts, 1e-4)

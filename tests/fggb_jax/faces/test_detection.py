import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fggb_jax.errors import ImageError
from fggb_jax.faces.detection import check_photograph, overlap, suppress


def test_overlap_of_known_boxes():
    boxes = np.array([[0, 0, 4, 4], [2, 0, 6, 4], [2, 2, 6, 6], [4, 4, 8, 8], [1, 1, 1, 3]], float)
    found = overlap(boxes[0], boxes)
    np.testing.assert_allclose(found, [1, 8 / 24, 4 / 28, 0, 0])


def test_the_better_of_two_boxes_stays_and_far_ones_do():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [40, 0, 50, 10], [41, 0, 51, 10]], float)
    assert suppress(boxes, np.array([0.7, 0.9, 0.8, 0.1]), 0.3) == [1, 2]
    assert suppress(boxes, np.array([0.7, 0.9, 0.8, 0.1]), 0.9) == [1, 2, 0, 3]
    assert suppress(boxes[:0], np.array([]), 0.3) == []


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 30), limit=st.floats(0.05, 0.95))
def test_what_is_kept_does_not_overlap_and_what_goes_overlaps_a_better_one(seed, count, limit):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 50, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 40, (count, 2))], axis=1)
    scores = rng.uniform(0, 1, count)
    kept = suppress(boxes, scores, limit)
    assert sorted(kept, key=lambda k: -scores[k]) == kept
    for k in range(count):
        better = [j for j in kept if scores[j] > scores[k]]
        near = (overlap(boxes[k], boxes[better]) > limit).any() if better else False
        assert near != (k in kept)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_what_is_no_photograph_is_refused(image):
    with pytest.raises(ImageError, match=r"shape \(.*a photograph is \(H, W, 3\) uint8 RGB"):
        check_photograph(image)

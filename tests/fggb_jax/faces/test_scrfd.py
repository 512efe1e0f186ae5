import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fggb_jax.errors import ImageError, ModelError
from fggb_jax.faces.detection import suppress
from fggb_jax.faces.scrfd import ScrfdDetector, decode

ROWS = {side: [2 * (side // s) ** 2 for s in (8, 16, 32)] for side in (32, 64, 128)}


def reference(outputs, side, threshold):
    """The decoding once more, anchor by anchor, in plain loops."""
    faces = []
    for level, stride in enumerate((8, 16, 32)):
        row = 0
        for y in range(0, side, stride):
            for x in range(0, side, stride):
                for _ in range(2):
                    score = float(outputs[level].ravel()[row])
                    if score >= threshold:
                        d = outputs[3 + level].reshape(-1, 4)[row] * stride
                        box = [x - d[0], y - d[1], x + d[2], y + d[3]]
                        points = None
                        if len(outputs) == 9:
                            k = outputs[6 + level].reshape(-1, 10)[row] * stride
                            points = [[x + k[2 * i], y + k[2 * i + 1]] for i in range(5)]
                        faces.append((box, score, points))
                    row += 1
    return faces


def synthetic(side, seed, landmarks=True, batch=False):
    rng = np.random.default_rng(seed)
    widths = (1, 4, 10) if landmarks else (1, 4)
    outputs = [rng.normal(1, 2, (n, w)).astype(np.float32) for w in widths for n in ROWS[side]]
    outputs[:3] = [rng.uniform(0, 1, x.shape).astype(np.float32) for x in outputs[:3]]
    return [x[None] for x in outputs] if batch else outputs


@pytest.mark.parametrize("landmarks", [True, False])
@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("side", [32, 64])
def test_decoding(side, landmarks, batch):
    outputs = synthetic(side, side, landmarks, batch)
    boxes, scores, points = decode(outputs, side, 0.7)
    expected = reference(outputs, side, 0.7)
    assert 5 < len(expected) == len(boxes)
    np.testing.assert_allclose(boxes, [f[0] for f in expected], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(scores, [f[1] for f in expected], rtol=1e-6)
    if landmarks:
        np.testing.assert_allclose(points, [f[2] for f in expected], rtol=1e-5, atol=1e-4)
    else:
        assert points is None


def network(side=None, landmarks=True, batch=False, seed=0, drop=0, order=None, anchors=2):
    """A network of SCRFD's signature: one convolution for each output, then what SCRFD does."""
    rng = np.random.default_rng(seed)
    nodes, weights, outputs = [], [], []
    widths = [("score", 1), ("bbox", 4), ("kps", 10)][: 3 if landmarks else 2]
    for kind, width in widths:
        for stride in (8, 16, 32):
            name = f"{kind}_{stride}"
            kernel = rng.normal(0, 1 / stride, (anchors * width, 3, stride, stride))
            weights += [
                numpy_helper.from_array(kernel.astype(np.float32), f"{name}_w"),
                numpy_helper.from_array(
                    np.array([1, -1, width] if batch else [-1, width]), f"{name}_s"
                ),
            ]
            last = f"{name}_raw" if kind == "score" else name
            nodes += [
                helper.make_node(
                    "Conv", ["input.1", f"{name}_w"], [f"{name}_c"], strides=2 * [stride]
                ),
                helper.make_node("Transpose", [f"{name}_c"], [f"{name}_t"], perm=[0, 2, 3, 1]),
                helper.make_node("Reshape", [f"{name}_t", f"{name}_s"], [last]),
            ]
            if kind == "score":
                nodes.append(helper.make_node("Sigmoid", [last], [name]))
            shape = [1, None, width] if batch else [None, width]
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    outputs = outputs[: len(outputs) - drop]
    if order:
        outputs = [outputs[i] for i in order]
    size = [1, 3, side or "h", side or "w"]
    image = helper.make_tensor_value_info("input.1", TensorProto.FLOAT, size)
    graph = helper.make_graph(nodes, "scrfd", [image], outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def photo(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("landmarks", [True, False])
def test_the_whole_way_against_onnxruntime(tmp_path, landmarks, batch):
    ort = pytest.importorskip("onnxruntime")
    proto = network(64, landmarks, batch)
    onnx.save(proto, tmp_path / "det.onnx")
    detector = ScrfdDetector(tmp_path / "det.onnx", threshold=0.75)
    assert detector.side == 64
    assert detector.schemes == (("arcface-5",) if landmarks else ())
    image = photo(64, 48)  # no resampling, a black edge at the right
    found = detector.detect(image)
    blob = np.full((1, 3, 64, 64), -127.5 / 128, np.float32)
    blob[0, :, :64, :48] = (image.astype(np.float32).transpose(2, 0, 1) - 127.5) / 128
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = reference(session.run(None, {"input.1": blob}), 64, 0.75)
    boxes, scores = (np.array([f[i] for f in expected]) for i in (0, 1))
    kept = suppress(boxes, scores, 0.4)
    assert len(kept) >= 2
    assert len(found) == len(kept)
    for face, k in zip(found, kept, strict=True):
        np.testing.assert_allclose(face.box, boxes[k], rtol=0, atol=1e-2)
        assert face.score == pytest.approx(scores[k], abs=1e-4)
        if landmarks:
            assert face.landmarks["arcface-5"].dtype == np.float32
            np.testing.assert_allclose(
                face.landmarks["arcface-5"], expected[k][2], rtol=0, atol=1e-2
            )
        else:
            assert face.landmarks == {}


def smooth(side, scale):
    """The same picture at any scale, pixel centres in place."""
    at = (np.arange(side) + 0.5) / scale
    waves = [np.sin(at[:, None] / a + at / b) for a, b in ((9, 7), (6, 11), (13, 5))]
    return np.rint(127.5 + 120 * np.stack(waves, axis=-1)).astype(np.uint8)


def test_coordinates_are_those_of_the_photograph():
    """A photograph four times as large gives boxes four times as large."""
    detector = ScrfdDetector(network(64), threshold=0.6)
    ours = detector.detect(smooth(64, 1))[:5]
    again = detector.detect(smooth(256, 4))[:5]
    assert len(ours) == 5

    def gap(of_small, of_large):
        return (np.asarray(of_large, float) + 0.5) / 4 - 0.5 - of_small

    boxes = np.array([gap(a.box, b.box) for a, b in zip(ours, again, strict=True)])
    points = np.array(
        [
            gap(a.landmarks["arcface-5"], b.landmarks["arcface-5"])
            for a, b in zip(ours, again, strict=True)
        ]
    )
    for gaps in (boxes, points):
        # Without the half pixel it would be 0.375.
        assert abs(gaps.mean()) < 0.05
        assert np.abs(gaps).max() < 0.5


def test_another_canvas_is_tried_where_nothing_is_found_and_the_file_allows_it():
    detector = ScrfdDetector(network(), threshold=2.0, upsample=2)
    sides = []
    detector._look = lambda image, side: sides.append(side) or []
    assert detector.detect(photo(20, 20)) == []
    assert sides == [640, 320, 1280, 2560]
    fixed = ScrfdDetector(network(64), threshold=2.0, upsample=2)
    assert fixed.detect(photo(20, 20)) == []
    assert fixed._run._cache_size() == 1


@pytest.mark.parametrize(
    "options",
    [
        {"drop": 1},
        {"order": [3, 4, 5, 0, 1, 2, 6, 7, 8]},
        {"order": [2, 1, 0, 3, 4, 5, 6, 7, 8]},
        {"anchors": 1},
    ],
)
def test_a_file_of_other_outputs_is_refused(options):
    with pytest.raises(ModelError, match=r"ModelProto is no SCRFD detector: its outputs are \("):
        ScrfdDetector(network(64, **options))


def test_files_that_cannot_be_used_are_refused(tmp_path):
    with pytest.raises(ModelError, match=r"no such file: .*none\.onnx"):
        ScrfdDetector(tmp_path / "none.onnx")
    wide = network()
    size = wide.graph.input[0].type.tensor_type.shape.dim
    size[2].dim_value, size[3].dim_value = 64, 96
    with pytest.raises(ModelError, match="does not take an image of 64×64"):
        ScrfdDetector(wide)
    with pytest.raises(ImageError, match="a photograph is"):
        ScrfdDetector(network(64)).detect(np.zeros((4, 4), np.uint8))

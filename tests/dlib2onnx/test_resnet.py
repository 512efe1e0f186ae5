from collections import Counter

from dlib2onnx.layers import Con, Shape, Tag
from dlib2onnx.network import read_network
from dlib2onnx.resnet import face_recognition


def test_counts():
    kinds = Counter(type(layer).__name__ for layer in face_recognition())
    assert kinds == {
        "LossMetric": 1,
        "Fc": 1,
        "AveragePool": 5,
        "Relu": 29,
        "AddPrevious": 14,
        "Affine": 29,
        "Con": 29,
        "Tag": 18,
        "Skip": 4,
        "MaxPool": 1,
        "Input": 1,
    }


def test_blocks_by_channels():
    first = [x for x in reversed(face_recognition()) if x.name.endswith(".conv1")]
    assert [layer.filters for layer in first if isinstance(layer, Con)] == (
        [32] * 3 + [64] * 4 + [128] * 3 + [256] * 4
    )
    strided = [x.name for x in first if isinstance(x, Con) and x.window.stride_y == 2]
    assert strided == [f"level{n}.block1.conv1" for n in (3, 2, 1, 0)]


def test_names_are_unique():
    names = [layer.name for layer in face_recognition()]
    assert len(set(names)) == len(names)


def test_shapes():
    shape, tags, shapes = Shape(0, 0, 0), {}, {}
    for layer in reversed(face_recognition()):
        shape = shapes[layer.name] = layer.output_shape(shape, tags)
        if isinstance(layer, Tag):
            tags[layer.tag] = shape
    assert shapes["stem.pool"] == (32, 35, 35)
    assert shapes["level4.block3.relu2"] == (32, 35, 35)
    assert shapes["level3.block4.relu2"] == (64, 17, 17)
    assert shapes["level2.block3.relu2"] == (128, 8, 8)
    assert shapes["level1.block1.affine2"] == (256, 3, 3)
    assert shapes["level1.block3.relu2"] == (256, 4, 4)
    assert shapes["level0.block1.affine2"] == (256, 1, 1)
    assert shapes["level0.block1.relu2"] == (256, 2, 2)
    assert shape == (128, 1, 1)


def test_published_file(resnet_path):
    steps = read_network(resnet_path.read_bytes(), face_recognition())
    sizes = [w.size for step in steps for key, w in step.weights.items() if key != "mean"]
    assert sum(sizes) == 5_614_592
    weight = next(step for step in steps if step.layer.name == "stem.conv").weights["weight"]
    # The file's first number: 4d 45 f0 bc at byte 0x160.
    assert weight[0, 0, 0, 0] == float.fromhex("-0x1.e08a9ap-6")

import numpy as np
import pytest

from dlib2onnx import DlibFormatError
from dlib2onnx.layers import Input, PyramidInput, Shape
from dlib2onnx.reader import Reader

# As it stands in the published file.
PUBLISHED = b"\x01\x15input_rgb_image_sized" + bytes.fromhex(
    "03 62 90 f5 81 11 03 83 00 ea 81 11 03 93 98 d0 81 11 01 96 01 96"
)


def read(raw):
    reader = Reader(raw)
    layer = Input(150, 150, name="image")
    layer.open(reader, innermost=False)
    weights = layer.close(reader, Shape(0, 0, 0), innermost=False)
    reader.finish()
    return weights


def test_published():
    mean = read(PUBLISHED)["mean"]
    np.testing.assert_array_equal(mean, np.array([122.782, 117.001, 104.298], np.float32))
    assert Input(150, 151).output_shape(Shape(0, 0, 0), {}) == (3, 150, 151)


@pytest.mark.parametrize("mean", ["81 01 01 00", "02 00 01 01 00", "01 00 02 02 7d"])
def test_mean_outside_an_image(mean):
    raw = PUBLISHED[:23] + bytes.fromhex(mean) + PUBLISHED[29:]
    with pytest.raises(DlibFormatError, match="image: mean red is outside an image's 0 to 255"):
        read(raw)


def test_another_size():
    with pytest.raises(DlibFormatError, match=r"image: columns should be 150 \(.* value 151\)"):
        read(PUBLISHED[:-1] + b"\x97")


def test_pyramid(dlib_format):
    layer = PyramidInput(rate=6, name="image")
    raw, expected = dlib_format.details(layer, Shape(0, 0, 0), None)
    reader = Reader(raw)
    mean = layer.close(reader, Shape(0, 0, 0), innermost=False)["mean"]
    reader.finish()
    np.testing.assert_array_equal(mean, expected["mean"])
    # Rows and columns are the image's to decide.
    assert layer.output_shape(Shape(0, 0, 0), {}) == (3, 0, 0)


def test_pyramid_of_another_version():
    with pytest.raises(DlibFormatError, match=r"'input_rgb_image_pyramid' .* another version"):
        PyramidInput(name="image").close(
            Reader(b"\x01\x18input_rgb_image_pyramid2"), Shape(0, 0, 0), innermost=False
        )

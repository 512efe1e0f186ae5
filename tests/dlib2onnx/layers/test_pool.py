import pytest

from dlib2onnx import DlibFormatError
from dlib2onnx.layers import AveragePool, MaxPool, Shape
from dlib2onnx.layers.base import Window

# As it stands in the published file.
MAX_3_2 = b"\x01\x0amax_pool_2" + bytes.fromhex("01 03 01 03 01 02 01 02 01 00 01 00")
AVERAGE_2_2 = b"\x01\x0aavg_pool_2" + bytes.fromhex("01 02 01 02 01 02 01 02 01 00 01 00")
AVERAGE_EVERYTHING = b"\x01\x0aavg_pool_2" + bytes.fromhex("01 00 01 00 01 01 01 01 01 00 01 00")


@pytest.mark.parametrize(
    ("layer", "raw", "output"),
    [
        (MaxPool(Window(3, 3, 2, 2)), MAX_3_2, (7, 35, 35)),
        (AveragePool(Window(2, 2, 2, 2)), AVERAGE_2_2, (7, 36, 36)),
        (AveragePool(Window(0, 0, 1, 1)), AVERAGE_EVERYTHING, (7, 1, 1)),
    ],
)
def test_pool(dlib_format, layer, raw, output):
    assert dlib_format.read_details(layer, raw) == {}
    assert layer.output_shape(Shape(7, 72, 72), {}) == output


def test_another_pool_or_window(dlib_format):
    with pytest.raises(DlibFormatError, match="layer version 'avg_pool_2'"):
        dlib_format.read_details(AveragePool(Window(3, 3, 2, 2)), MAX_3_2)
    with pytest.raises(DlibFormatError, match="p: rows should be 2"):
        dlib_format.read_details(MaxPool(Window(2, 2, 2, 2), name="p"), MAX_3_2)

import pytest

from dlib2onnx import DlibFormatError
from dlib2onnx.layers import Relu, Shape


def test_relu(dlib_format):
    assert dlib_format.read_details(Relu(name="r"), b"\x01\x05relu_") == {}
    assert Relu().output_shape(Shape(2, 5, 5), {}) == (2, 5, 5)
    with pytest.raises(DlibFormatError, match="layer version 'relu_'"):
        dlib_format.read_details(Relu(name="r"), b"\x01\x06prelu_")

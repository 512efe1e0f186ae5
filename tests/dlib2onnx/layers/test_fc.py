import numpy as np
import pytest

from dlib2onnx import DlibFormatError
from dlib2onnx.layers import Fc, Shape

# Two inputs, one output, weights 1 and 2, worked out by hand.
BY_HAND = bytes.fromhex(
    "01 04 66 63 5f 32  01 01 01 02"  # "fc_2", outputs, inputs
    "01 02 01 02 01 01 01 01 01 01 00 00 80 3f 00 00 00 40"
    "01 01 01 02 01 01 01 01 01 01  01 01 01 00 01 00 01 00 01 00  01 01"
    "01 01 01 00 01 01 01 00 01 01 01 00 01 00 01 0b"
)


def test_by_hand(dlib_format):
    weights = dlib_format.read_details(Fc(1, name="fc"), BY_HAND, Shape(2, 1, 1))
    np.testing.assert_array_equal(weights["weight"], [[1], [2]])


def test_shape():
    assert Fc(128).output_shape(Shape(256, 1, 1), {}) == (128, 1, 1)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (5, "layer version 'fc_2'"),
        (7, "fc: number of outputs should be 1"),
        (9, "fc: number of inputs should be 2"),
        (13, "fc: params should have the size"),
        (31, "fc: weights should have the size"),
        (41, r"fc: biases should have the size \(0, 0, 0, 0\)"),
        (49, "fc: bias mode should be 1"),
    ],
)
def test_every_field_is_checked(dlib_format, place, message):
    raw = bytearray(BY_HAND)
    raw[place] += 1
    with pytest.raises(DlibFormatError, match=message):
        dlib_format.read_details(Fc(1, name="fc"), bytes(raw), Shape(2, 1, 1))

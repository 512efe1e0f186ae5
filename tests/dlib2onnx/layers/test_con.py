import numpy as np
import pytest

from dlib2onnx import DlibFormatError
from dlib2onnx.layers import Con, Shape
from dlib2onnx.layers.base import Window

# con<1, 1, 2, 1, 1> over one channel: weights 1 and 2, bias 3, worked out by hand.
BY_HAND = bytes.fromhex(
    "01 05 63 6f 6e 5f 34"  # "con_4"
    "01 02 01 03 01 01 01 01 01 01 00 00 80 3f 00 00 00 40 00 00 40 40"  # params
    "01 01  01 01 01 02  01 01 01 01  01 00 01 01"  # filters, window, strides, paddings
    "01 01 01 01 01 01 01 01 01 02  01 01 01 01 01 01 01 01 01 01"  # alias tensors
    "01 01 01 00 01 01 01 00 01 01 01 00 01 00 01 0b"  # multipliers 1, 1, 1, 0
)
CON = Con(1, Window(1, 2, 1, 1), name="conv")


def test_by_hand(dlib_format):
    weights = dlib_format.read_details(CON, BY_HAND, Shape(1, 4, 4))
    np.testing.assert_array_equal(weights["weight"], [[[[1, 2]]]])
    np.testing.assert_array_equal(weights["bias"], [3])


def test_order_of_the_axes(dlib_format):
    layer = Con(2, Window(3, 5, 1, 1), name="conv")
    raw, expected = dlib_format.details(layer, Shape(4, 9, 9), np.random.default_rng(0))
    weights = dlib_format.read_details(layer, raw, Shape(4, 9, 9))
    assert weights["weight"].shape == (2, 4, 3, 5)
    np.testing.assert_array_equal(weights["weight"], expected["weight"])
    np.testing.assert_array_equal(weights["bias"], expected["bias"])


def test_shape():
    assert Con(32, Window(7, 7, 2, 2)).output_shape(Shape(3, 150, 150), {}) == (32, 72, 72)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (2, "layer version 'con_4'"),
        (10, r"conv: params should have the size \(3, 1, 1, 1\)"),
        (30, "conv: number of filters should be 1"),
        (34, "conv: columns should be 2"),
        (42, "conv: padding_x should be 1"),
        (52, r"conv: filters should have the size \(1, 1, 1, 2\)"),
        (58, r"conv: biases should have the size \(1, 1, 1, 1\)"),
    ],
)
def test_every_field_is_checked(dlib_format, place, message):
    raw = bytearray(BY_HAND)
    raw[place] += 4
    with pytest.raises(DlibFormatError, match=message):
        dlib_format.read_details(CON, bytes(raw), Shape(1, 4, 4))


def test_channels_must_be_those_of_the_layer_before(dlib_format):
    with pytest.raises(DlibFormatError, match=r"conv: params should have the size \(5, 1, 1, 1\)"):
        dlib_format.read_details(CON, BY_HAND, Shape(2, 4, 4))

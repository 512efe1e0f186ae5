import numpy as np
import pytest

from dlib2onnx import DlibFormatError
from dlib2onnx.layers import Affine, Shape

# Two channels, gamma 1 and 2, beta 3 and 4, worked out by hand.
BY_HAND = bytes.fromhex(
    "01 07 61 66 66 69 6e 65 5f"  # "affine_"
    "01 02 01 04 01 01 01 01 01 01 00 00 80 3f 00 00 00 40 00 00 40 40 00 00 80 40"
    "01 01 01 01 01 02 01 01 01 01  01 01 01 01 01 02 01 01 01 01  01 00"
)


def test_by_hand(dlib_format):
    weights = dlib_format.read_details(Affine(name="a"), BY_HAND, Shape(2, 5, 5))
    np.testing.assert_array_equal(weights["gamma"], [1, 2])
    np.testing.assert_array_equal(weights["beta"], [3, 4])


def test_shape_is_kept():
    assert Affine().output_shape(Shape(2, 5, 5), {}) == (2, 5, 5)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (3, "layer version 'affine_'"),
        (12, "a: params should have the size"),
        (40, "a: gamma should have the size"),
        (50, "a: beta should have the size"),
        (56, "a: mode should be 0"),
    ],
)
def test_every_field_is_checked(dlib_format, place, message):
    raw = bytearray(BY_HAND)
    raw[place] += 1
    with pytest.raises(DlibFormatError, match=message):
        dlib_format.read_details(Affine(name="a"), bytes(raw), Shape(2, 5, 5))

import pytest

from dlib2onnx import DlibFormatError
from dlib2onnx.layers import AddPrevious, Shape, Skip, Tag
from dlib2onnx.reader import Reader


@pytest.mark.parametrize("layer", [Tag(1, name="mark"), Skip(1, name="mark")])
def test_marks_write_their_version_alone(layer):
    reader = Reader(b"\x01\x01")
    layer.open(reader, innermost=False)
    assert layer.close(reader, Shape(1, 1, 1), innermost=False) == {}
    reader.finish()
    with pytest.raises(DlibFormatError, match="mark: version of the template should be 1"):
        layer.open(Reader(b"\x01\x02"), innermost=False)


def test_add_previous(dlib_format):
    assert dlib_format.read_details(AddPrevious(1), b"\x01\x09add_prev_") == {}
    with pytest.raises(DlibFormatError, match="layer version 'add_prev_'"):
        dlib_format.read_details(AddPrevious(1), b"\x01\x0amult_prev_")


def test_shapes():
    tags = {1: Shape(64, 3, 4), 2: Shape(9, 9, 9)}
    assert Tag(1).output_shape(Shape(1, 2, 3), tags) == (1, 2, 3)
    assert Skip(1).output_shape(Shape(1, 2, 3), tags) == (64, 3, 4)
    assert AddPrevious(1).output_shape(Shape(32, 4, 3), tags) == (64, 4, 4)

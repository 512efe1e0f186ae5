import pytest

from dlib2onnx import DlibFormatError
from dlib2onnx.layers import Layer, Relu, Shape
from dlib2onnx.layers.base import Window, skip_multipliers
from dlib2onnx.reader import Reader


@pytest.mark.parametrize(
    ("window", "padding", "output"),
    [
        (Window(7, 7, 2, 2), (0, 0), (72, 72)),
        (Window(3, 3, 1, 1), (1, 1), (150, 150)),
        (Window(3, 5, 2, 1), (0, 2), (74, 150)),
        (Window(0, 0, 1, 1), (0, 0), (1, 1)),
    ],
)
def test_window_pads_where_it_does_not_stride(window, padding, output):
    assert (window.padding_y, window.padding_x) == padding
    assert window.moved_over(Shape(3, 150, 150)) == output


@pytest.mark.parametrize(
    ("rows", "output"),
    [(35, 17), (17, 8), (8, 3), (4, 1)],
)
def test_window_leaves_out_what_would_hang_over(rows, output):
    assert Window(3, 3, 2, 2).moved_over(Shape(1, rows, rows)) == (output, output)


def test_window_reads_rows_columns_strides_paddings(dlib_format):
    Window(3, 5, 2, 1).read(Reader(dlib_format.integers(3, 5, 2, 1, 0, 2)), "conv")
    for place in range(6):
        numbers = [3, 5, 2, 1, 0, 2]
        numbers[place] += 1
        with pytest.raises(DlibFormatError, match=f"conv: .* value {numbers[place]}"):
            Window(3, 5, 2, 1).read(Reader(dlib_format.integers(*numbers)), "conv")


@pytest.mark.parametrize("innermost", [False, True])
def test_state_of_training_is_skipped(dlib_format, innermost):
    gradient = dlib_format.tensor([1, 2, 3], (3, 1, 1, 1))
    raw = dlib_format.string("relu_") + b"010" + gradient * 3 + b"\x01\x01" * innermost
    reader = Reader(raw)
    Relu(name="r").close(reader, Shape(1, 1, 1), innermost=innermost)
    reader.finish()


def test_version_of_add_layer_depends_on_what_is_inside():
    Relu(name="r").open(Reader(b"\x01\x02"), innermost=False)
    Relu(name="r").open(Reader(b"\x01\x03"), innermost=True)
    with pytest.raises(DlibFormatError, match="r: version of add_layer should be 3"):
        Relu(name="r").open(Reader(b"\x01\x02"), innermost=True)


def test_sample_expansion_is_refused(dlib_format):
    raw = dlib_format.string("relu_") + b"110" + dlib_format.EMPTY * 3 + b"\x01\x06"
    with pytest.raises(DlibFormatError, match="sample_expansion_factor should be 1"):
        Relu(name="r").close(Reader(raw), Shape(1, 1, 1), innermost=True)


def test_multipliers_are_four(dlib_format):
    reader = Reader(dlib_format.MULTIPLIERS)
    skip_multipliers(reader, "conv")
    reader.finish()


def test_a_layer_must_say_what_it_writes():
    with pytest.raises(NotImplementedError, match="Layer must say what it writes"):
        Layer().details(Reader(b""), Shape(1, 1, 1))

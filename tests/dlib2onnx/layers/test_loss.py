import pytest

from dlib2onnx import DlibFormatError
from dlib2onnx.layers import LossMetric, LossMmod, Shape
from dlib2onnx.reader import Reader

# As it stands in the published file.
PUBLISHED = b"\x01\x01\x01\x0dloss_metric_2" + bytes.fromhex("03 0a d7 a3 81 1c 03 9a 99 99 81 18")


# As it stands in the published detector.
MMOD = b"\x01\x01\x01\x0aloss_mmod_" + bytes.fromhex(
    "01 01  01 50 01 50  01 10 81 04  01 10 81 04  01 10 81 05"
    "07 8c 6a 54 f2 50 a6 15 81 36  01 10 81 04  01 10 81 05  01 10 81 04"
)


def test_published():
    reader = Reader(PUBLISHED)
    assert LossMetric(name="loss").open(reader, innermost=False) == {}
    reader.finish()
    assert LossMetric(name="loss").close(reader, Shape(1, 1, 1), innermost=False) == {}
    assert LossMetric(name="loss").output_shape(Shape(128, 1, 1), {}) == (128, 1, 1)


def test_another_loss():
    with pytest.raises(DlibFormatError, match=r"version 'loss_metric_2' .* value 'loss_mmod_'"):
        LossMetric(name="loss").open(Reader(b"\x01\x01\x01\x0aloss_mmod_"), innermost=False)
    with pytest.raises(DlibFormatError, match="loss: version of add_loss_layer should be 1"):
        LossMetric(name="loss").open(Reader(b"\x01\x02"), innermost=False)


def test_published_detector():
    reader = Reader(MMOD)
    options = LossMmod(name="loss").open(reader, innermost=False)
    reader.finish()
    assert options["window"].tolist() == [80, 80]
    assert options["overlaps_nms"].tolist() == [0x15A650F2546A8C * 2.0**-54, 1.0]
    assert LossMmod(name="loss").output_shape(Shape(1, 0, 0), {}) == (1, 0, 0)


@pytest.mark.parametrize(
    ("place", "byte", "message"),
    [
        (15, 0x02, "version of mmod_options should be 1"),
        (17, 0x00, "a window's width must be 1 to 10000"),
        (19, 0x00, "a window's height must be 1 to 10000"),
        (41, 0x34, "overlaps_nms IoU must be 0 to 1"),
        (45, 0x03, "overlaps_nms covered must be 0 to 1"),
        (49, 0x03, "overlaps_ignore IoU must be 0 to 1"),
    ],
)
def test_every_option_is_checked(place, byte, message):
    raw = bytearray(MMOD)
    assert raw[place] != byte
    raw[place] = byte
    with pytest.raises(DlibFormatError, match=message):
        LossMmod(name="loss").open(Reader(bytes(raw)), innermost=False)

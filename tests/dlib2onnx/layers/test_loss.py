import pytest

from dlib2onnx import DlibFormatError
from dlib2onnx.layers import LossMetric, Shape
from dlib2onnx.reader import Reader

# As it stands in the published file.
PUBLISHED = b"\x01\x01\x01\x0dloss_metric_2" + bytes.fromhex("03 0a d7 a3 81 1c 03 9a 99 99 81 18")


def test_published():
    reader = Reader(PUBLISHED)
    LossMetric(name="loss").open(reader, innermost=False)
    reader.finish()
    assert LossMetric(name="loss").close(reader, Shape(1, 1, 1), innermost=False) == {}
    assert LossMetric(name="loss").output_shape(Shape(128, 1, 1), {}) == (128, 1, 1)


def test_another_loss():
    with pytest.raises(DlibFormatError, match=r"version 'loss_metric_2' .* value 'loss_mmod_'"):
        LossMetric(name="loss").open(Reader(b"\x01\x01\x01\x0aloss_mmod_"), innermost=False)
    with pytest.raises(DlibFormatError, match="loss: version of add_loss_layer should be 1"):
        LossMetric(name="loss").open(Reader(b"\x01\x02"), innermost=False)

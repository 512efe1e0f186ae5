"""dlib's CNN face detector, as its example `dnn_mmod_face_detection_ex.cpp` declares it."""

import json
from collections.abc import Sequence

from dlib2onnx.grammar import (
    Network,
    bn_con,
    con,
    input_rgb_image_pyramid,
    loss_mmod,
    relu,
)
from dlib2onnx.layers import Con, PyramidInput
from dlib2onnx.network import Step

# mmod_human_face_detector.dat as Davis King publishes it, in dlib-models, under CC0.
PUBLISHED_SHA256 = "4cb19393e2fbaf2b1609a9319ad5386618c886a6234ec1b971f3e87c85d87fe6"
PUBLISHED_LICENCE = "CC0-1.0"
DESCRIPTION = (
    "dlib's CNN face detector, without its image pyramid. image: (batch, 3, height, width) "
    "float32, RGB, 0 to 255; mean and scale are in the graph. detections: (batch, windows, rows, "
    "columns) float32, positive where a window holds a face. metadata 'mmod': how to tile the "
    "pyramid, and what a position of the map stands for."
)
# A file of version 1 says nothing of these; they are what dlib then takes.
_PADDING = 10
_OUTER_PADDING = 11


def _step(filters: int, stride: int, net: Network, *, name: str) -> Network:
    net = con(filters, 5, 5, stride, stride, net, name=f"{name}.conv")
    return relu(bn_con(net, name=f"{name}.bn"), name=f"{name}.relu")


def face_detector() -> Network:
    """The whole network: three convolutions that halve the image, four that look at it."""
    net = input_rgb_image_pyramid(6, name="normalize")
    for number, filters in enumerate((16, 32, 32), 1):
        net = _step(filters, 2, net, name=f"down{number}")
    for number in (1, 2, 3):
        net = _step(45, 1, net, name=f"look{number}")
    return loss_mmod(con(1, 9, 9, 1, 1, net, name="score"))


def decoding(steps: Sequence[Step]) -> str:
    """Everything that decoding the map needs, as JSON.

    A position (row, column) of the map is the window centred at stride · (column, row) + offset of
    the image that went in. Of the levels of a pyramid, tiled with `padding` between them and
    `outer_padding` around them, each is (rate − 1) / rate the size of the one before; whatever is
    not image has the colour `fill`, which the network sees as zero.
    """
    image, loss = steps[0], steps[-1]
    assert isinstance(image.layer, PyramidInput)
    stride, offset = 1, 0
    # From the output back to the image: each convolution's map_output_to_input in dlib.
    for step in reversed(steps):
        if isinstance(step.layer, Con):
            window = step.layer.window
            centre = window.rows // 2 - window.padding_y
            stride, offset = stride * window.stride_y, offset * window.stride_y + centre
    width, height = loss.weights["window"].tolist()
    iou, covered = loss.weights["overlaps_nms"].tolist()
    options = {
        "windows": [{"width": width, "height": height}],
        "stride": stride,
        "offset": offset,
        "threshold": 0.0,
        "overlaps_nms": {"iou": iou, "covered": covered},
        "bounding_box_regression": False,
        "pyramid": {
            "rate": image.layer.rate,
            "padding": _PADDING,
            "outer_padding": _OUTER_PADDING,
            "fill": image.weights["mean"].tolist(),
        },
    }
    return json.dumps(options)

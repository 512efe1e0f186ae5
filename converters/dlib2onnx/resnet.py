"""dlib's face recognition network, as its example `dnn_face_recognition_ex.cpp` declares it."""

from functools import partial

from dlib2onnx.grammar import (
    Network,
    add_prev,
    affine,
    avg_pool,
    avg_pool_everything,
    con,
    fc_no_bias,
    input_rgb_image_sized,
    loss_metric,
    max_pool,
    relu,
    scope,
    skip,
    tag,
)

# dlib_face_recognition_resnet_model_v1.dat as Davis King publishes it, in dlib-models, under CC0.
PUBLISHED_SHA256 = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"
PUBLISHED_LICENCE = "CC0-1.0"
DESCRIPTION = (
    "dlib's face recognition ResNet. image: (batch, 3, 150, 150) float32, RGB, 0 to 255, a face "
    "aligned by dlib.get_face_chip(size=150, padding=0.25); mean and scale are in the graph. "
    "embedding: (batch, 128) float32, not normalized."
)


def block(filters: int, stride: int, net: Network) -> Network:
    """Two 3×3 convolutions; the first may stride."""
    net = affine(con(filters, 3, 3, stride, stride, net, name="conv1"), name="affine1")
    net = relu(net, name="relu1")
    return affine(con(filters, 3, 3, 1, 1, net, name="conv2"), name="affine2")


def residual(filters: int, net: Network) -> Network:
    """A block, and its input added."""
    return add_prev(1, block(filters, 1, tag(1, net)), name="add")


def residual_down(filters: int, net: Network) -> Network:
    """A block that halves the image, and its input, halved too, added."""
    branch = tag(2, block(filters, 2, tag(1, net)))
    return add_prev(2, avg_pool(2, 2, 2, 2, skip(1, branch), name="shortcut"), name="add")


def ares(filters: int, net: Network) -> Network:
    """A residual block at one resolution."""
    return relu(residual(filters, net), name="relu2")


def ares_down(filters: int, net: Network) -> Network:
    """A residual block that halves the resolution."""
    return relu(residual_down(filters, net), name="relu2")


def level(name: str, filters: int, net: Network, *, down: int, plain: int) -> Network:
    """Residual blocks of as many filters, numbered from 1; those that go down come first."""
    templates = [ares_down] * down + [ares] * plain
    for number, template in enumerate(templates, 1):
        net = scope(f"{name}.block{number}", partial(template, filters), net)
    return net


def face_recognition() -> Network:
    """The whole network; dlib numbers its levels from the output."""
    net = input_rgb_image_sized(150, name="normalize")
    net = affine(con(32, 7, 7, 2, 2, net, name="stem.conv"), name="stem.affine")
    net = max_pool(3, 3, 2, 2, relu(net, name="stem.relu"), name="stem.pool")
    net = level("level4", 32, net, down=0, plain=3)
    net = level("level3", 64, net, down=1, plain=3)
    net = level("level2", 128, net, down=1, plain=2)
    net = level("level1", 256, net, down=1, plain=2)
    net = level("level0", 256, net, down=1, plain=0)
    return loss_metric(fc_no_bias(128, avg_pool_everything(net, name="pool"), name="fc"))

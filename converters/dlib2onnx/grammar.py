"""Combinators that spell a network as dlib's C++ typedefs do: `relu(affine(con(…, subnet)))`.

dlib writes no names of templates into a file, only their versions, so a reader must know the
network beforehand. A network here is the flat tuple of its layers from the outermost (the loss)
to the innermost (the input); a combinator puts its layer in front of its subnetwork.
"""

from collections.abc import Callable
from dataclasses import replace

from dlib2onnx.layers import (
    AddPrevious,
    Affine,
    AveragePool,
    BnCon,
    Con,
    Fc,
    Input,
    Layer,
    LossMetric,
    LossMmod,
    MaxPool,
    PyramidInput,
    Relu,
    Skip,
    Tag,
)
from dlib2onnx.layers.base import Window

Network = tuple[Layer, ...]


def input_rgb_image_sized(size: int, *, name: str) -> Network:
    """The innermost layer: a square RGB image."""
    return (Input(size, size, name=name),)


def input_rgb_image_pyramid(rate: int, *, name: str) -> Network:
    """The innermost layer: an RGB image of any size."""
    return (PyramidInput(rate=rate, name=name),)


def con(
    filters: int, rows: int, columns: int, stride_y: int, stride_x: int, net: Network, *, name: str
) -> Network:
    """A convolution; dlib pads it by half a window if its stride is 1, else not at all."""
    return (Con(filters, Window(rows, columns, stride_y, stride_x), name=name), *net)


def affine(net: Network, *, name: str) -> Network:
    """A factor and a term per channel."""
    return (Affine(name=name), *net)


def bn_con(net: Network, *, name: str) -> Network:
    """A batch normalization, in use a factor and a term per channel."""
    return (BnCon(name=name), *net)


def relu(net: Network, *, name: str) -> Network:
    """max(x, 0)."""
    return (Relu(name=name), *net)


def max_pool(
    rows: int, columns: int, stride_y: int, stride_x: int, net: Network, *, name: str
) -> Network:
    """The maximum over a window."""
    return (MaxPool(Window(rows, columns, stride_y, stride_x), name=name), *net)


def avg_pool(
    rows: int, columns: int, stride_y: int, stride_x: int, net: Network, *, name: str
) -> Network:
    """The mean over a window."""
    return (AveragePool(Window(rows, columns, stride_y, stride_x), name=name), *net)


def avg_pool_everything(net: Network, *, name: str) -> Network:
    """The mean over the whole image."""
    return avg_pool(0, 0, 1, 1, net, name=name)


def tag(number: int, net: Network) -> Network:
    """Remember this place."""
    return (Tag(number, name=f"tag{number}"), *net)


def skip(number: int, net: Network) -> Network:
    """Go on from the nearest `tag(number, …)` inside `net`."""
    return (Skip(number, name=f"skip{number}"), *net)


def add_prev(number: int, net: Network, *, name: str) -> Network:
    """Add the output of the nearest `tag(number, …)` inside `net`."""
    return (AddPrevious(number, name=name), *net)


def fc_no_bias(outputs: int, net: Network, *, name: str) -> Network:
    """A matrix."""
    return (Fc(outputs, name=name), *net)


def loss_metric(net: Network) -> Network:
    """The outermost layer of a recognizer."""
    return (LossMetric(name="loss"), *net)


def loss_mmod(net: Network) -> Network:
    """The outermost layer of a detector."""
    return (LossMmod(name="loss"), *net)


def scope(name: str, template: Callable[[Network], Network], net: Network) -> Network:
    """`template(net)`, with `name.` before the names of the layers that `template` adds."""
    whole = template(net)
    added = whole[: len(whole) - len(net)]
    return (*(replace(layer, name=f"{name}.{layer.name}") for layer in added), *net)

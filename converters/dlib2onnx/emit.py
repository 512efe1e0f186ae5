"""A network → an ONNX graph, one function a layer."""

from collections.abc import Iterable
from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from dlib2onnx.layers import (
    AddPrevious,
    AveragePool,
    Con,
    Fc,
    Input,
    Layer,
    LossMetric,
    LossMmod,
    MaxPool,
    Relu,
    Shape,
    Skip,
    Tag,
)
from dlib2onnx.layers.base import Window
from dlib2onnx.network import Step

OPSET = 18
IR_VERSION = 8
INPUT = "image"


class Value(NamedTuple):
    """A tensor of the graph, and one sample's shape."""

    name: str
    shape: Shape


class Graph:
    """The graph as it grows.

    Attributes:
        current: the output of the last layer.
        tags: the tensors that tag layers remember.
        nodes: the nodes so far.
        initializers: the constants so far.
    """

    def __init__(self, image: Value):
        self.current = image
        self.tags: dict[int, Value] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[TensorProto] = []

    def constant(self, name: str, values: np.ndarray) -> str:
        """Store an initializer; gives back its name."""
        self.initializers.append(numpy_helper.from_array(values, name))
        return name

    def node(self, op: str, name: str, *inputs: str, **attributes: Any) -> str:
        """Add a node whose output has the node's name; gives back that name."""
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name


def emit_graph(steps: Iterable[Step], name: str) -> onnx.GraphProto:
    """Write a network as an ONNX graph of opset 18.

    Args:
        steps: the network in the order of computation, its affine layers folded.
        name: the graph's name.

    Returns:
        A graph from `image`, float32 (batch, channels, rows, columns), to what the loss makes of
        it, float32: `embedding` (batch, outputs) or `detections` (batch, windows, rows, columns).
        The batch is free, and so are rows and columns where the input layer leaves them so.
    """
    steps = list(steps)
    graph = Graph(Value(INPUT, steps[0].shape))
    for step in steps:
        graph.current = Value(_emit(step.layer, step, graph), step.shape)
    output = _output(steps[-1].layer, steps[-1].shape)
    graph.nodes[-1].output[0] = output.name
    image = _described(INPUT, steps[0].shape, ("channels", "height", "width"))
    return helper.make_graph(graph.nodes, name, [image], [output], graph.initializers)


def _described(name: str, shape: tuple[int, ...], axes: tuple[str, ...]) -> onnx.ValueInfoProto:
    """A batch of float32; an axis whose size is 0, the image's to decide, goes by its name."""
    sizes = [size or axis for size, axis in zip(shape, axes, strict=True)]
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *sizes])


@singledispatch
def _output(loss: Layer, shape: Shape) -> onnx.ValueInfoProto:
    """Describe the graph's output."""
    del shape
    raise TypeError(f"{type(loss).__name__} is no loss whose output is known")


@_output.register
def _(loss: LossMetric, shape: Shape) -> onnx.ValueInfoProto:
    del loss
    return _described("embedding", shape[:1], ("outputs",))


@_output.register
def _(loss: LossMmod, shape: Shape) -> onnx.ValueInfoProto:
    del loss
    return _described("detections", shape, ("windows", "rows", "columns"))


@singledispatch
def _emit(layer: Layer, step: Step, graph: Graph) -> str:
    """Write one layer; gives back the name of its output."""
    del step, graph
    raise TypeError(f"{type(layer).__name__} has no function in emit.py; write one beside Con's")


@_emit.register
def _(layer: Input, step: Step, graph: Graph) -> str:
    mean = graph.constant(f"{layer.name}.mean", step.weights["mean"].reshape(1, -1, 1, 1))
    scale = graph.constant(f"{layer.name}.scale", np.array(1 / 256, np.float32))
    centred = graph.node("Sub", f"{layer.name}.centre", graph.current.name, mean)
    return graph.node("Mul", layer.name, centred, scale)


@_emit.register
def _(layer: Con, step: Step, graph: Graph) -> str:
    weight = graph.constant(f"{layer.name}.weight", step.weights["weight"])
    bias = graph.constant(f"{layer.name}.bias", step.weights["bias"])
    window = _window_attributes(layer.window)
    return graph.node("Conv", layer.name, graph.current.name, weight, bias, **window)


@_emit.register
def _(layer: Relu, step: Step, graph: Graph) -> str:
    del step
    return graph.node("Relu", layer.name, graph.current.name)


@_emit.register
def _(layer: MaxPool, step: Step, graph: Graph) -> str:
    del step
    window = _window_attributes(layer.window)
    return graph.node("MaxPool", layer.name, graph.current.name, **window)


@_emit.register
def _(layer: AveragePool, step: Step, graph: Graph) -> str:
    del step
    if not layer.window.rows:
        return graph.node("GlobalAveragePool", layer.name, graph.current.name)
    window = _window_attributes(layer.window)
    return graph.node("AveragePool", layer.name, graph.current.name, **window)


@_emit.register
def _(layer: Tag, step: Step, graph: Graph) -> str:
    del step
    graph.tags[layer.tag] = graph.current
    return graph.current.name


@_emit.register
def _(layer: Skip, step: Step, graph: Graph) -> str:
    del step
    return graph.tags[layer.tag].name


@_emit.register
def _(layer: AddPrevious, step: Step, graph: Graph) -> str:
    operands = {"current": graph.current, "tagged": graph.tags[layer.tag]}
    padded = [
        _padded(graph, value, step.shape, f"{layer.name}.pad_{which}")
        for which, value in operands.items()
    ]
    return graph.node("Add", layer.name, *padded)


@_emit.register
def _(layer: Fc, step: Step, graph: Graph) -> str:
    weight = graph.constant(f"{layer.name}.weight", step.weights["weight"])
    flat = graph.node("Flatten", f"{layer.name}.flatten", graph.current.name, axis=1)
    return graph.node("MatMul", layer.name, flat, weight)


@_emit.register
def _(layer: LossMetric | LossMmod, step: Step, graph: Graph) -> str:
    del layer, step
    return graph.current.name


def _window_attributes(window: Window) -> dict[str, list[int]]:
    # Average pooling counts only what lies inside the image, in dlib and by ONNX's default.
    return {
        "kernel_shape": [window.rows, window.columns],
        "strides": [window.stride_y, window.stride_x],
        "pads": [window.padding_y, window.padding_x] * 2,
    }


def _padded(graph: Graph, value: Value, shape: Shape, name: str) -> str:
    """Zeros after the last channel, below and to the right, up to `shape`."""
    if value.shape == shape:
        return value.name
    missing = [large - small for large, small in zip(shape, value.shape, strict=True)]
    pads = graph.constant(f"{name}.pads", np.array([0, 0, 0, 0, 0, *missing], np.int64))
    return graph.node("Pad", name, value.name, pads)

"""Reads the file of a network whose grammar is known."""

from dataclasses import dataclass
from itertools import pairwise

from dlib2onnx.grammar import Network
from dlib2onnx.layers import Input, Layer, Shape, Tag, Weights
from dlib2onnx.reader import Reader


@dataclass(frozen=True)
class Step:
    """One layer as it was read.

    Attributes:
        layer: its place in the grammar.
        weights: its weights by name.
        shape: the shape of its output.
        offset: where in the file its details begin, in bytes.
    """

    layer: Layer
    weights: Weights
    shape: Shape
    offset: int


def read_network(data: bytes, network: Network) -> list[Step]:
    """Read a dlib network file.

    A loop in, a loop out: how deep the templates nest is the grammar's choice, never the file's.

    Args:
        data: the whole file.
        network: what the file should hold.

    Returns:
        The layers in the order of computation, the input first.

    Raises:
        DlibFormatError: if the bytes are not this network, all of it and nothing more.
    """
    reader = Reader(data)
    for layer, inside in pairwise(network):
        layer.open(reader, innermost=isinstance(inside, Input))
    steps = _unwind(reader, network)
    reader.finish()
    return steps


def _unwind(reader: Reader, network: Network) -> list[Step]:
    steps: list[Step] = []
    shape = Shape(0, 0, 0)
    tags: dict[int, Shape] = {}
    inside: Layer | None = None
    for layer in reversed(network):
        offset = reader.offset
        weights = layer.close(reader, shape, innermost=isinstance(inside, Input))
        shape = layer.output_shape(shape, tags)
        if isinstance(layer, Tag):
            tags[layer.tag] = shape
        steps.append(Step(layer, weights, shape, offset))
        inside = layer
    return steps

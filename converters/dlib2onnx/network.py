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
        weights: its weights by name; of a loss, its options.
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
    opened = [
        layer.open(reader, innermost=isinstance(inside, Input))
        for layer, inside in pairwise(network)
    ]
    steps = _unwind(reader, network, [*opened, {}])
    reader.finish()
    return steps


def read_loss(data: bytes, *expected: str) -> str:
    """The name of the loss that a file says is outermost, one of `expected`.

    Raises:
        DlibFormatError: if the bytes are no network, or have another loss.
    """
    reader = Reader(data)
    reader.expect("loss: version of add_loss_layer", 1)
    return reader.version(*expected)


def _unwind(reader: Reader, network: Network, opened: list[Weights]) -> list[Step]:
    steps: list[Step] = []
    shape = Shape(0, 0, 0)
    tags: dict[int, Shape] = {}
    inside: Layer | None = None
    for layer, before in zip(reversed(network), reversed(opened), strict=True):
        offset = reader.offset
        after = layer.close(reader, shape, innermost=isinstance(inside, Input))
        weights = {**before, **after}
        shape = layer.output_shape(shape, tags)
        if isinstance(layer, Tag):
            tags[layer.tag] = shape
        steps.append(Step(layer, weights, shape, offset))
        inside = layer
    return steps

"""Tags, skips and add_prev_: how a dlib network branches and joins."""

from dataclasses import dataclass

from dlib2onnx.layers.base import Layer, Shape, Tags, Weights
from dlib2onnx.reader import Reader


@dataclass(frozen=True)
class _Mark(Layer):
    """A template that computes nothing: it writes its version, and nothing on the way out."""

    tag: int

    def open(self, reader: Reader, *, innermost: bool) -> Weights:
        """Read the version."""
        del innermost
        reader.expect(f"{self.name}: version of the template", 1)
        return {}

    def close(self, reader: Reader, shape: Shape, *, innermost: bool) -> Weights:
        """Nothing is written."""
        del reader, shape, innermost
        return {}


@dataclass(frozen=True)
class Tag(_Mark):
    """`tag1`, `tag2` …: remembers its input; the nearest tag below a layer is the one it sees."""


@dataclass(frozen=True)
class Skip(_Mark):
    """`skip1` …: goes on from the tagged layer."""

    def output_shape(self, shape: Shape, tags: Tags) -> Shape:
        """The tagged layer's shape."""
        del shape
        return tags[self.tag]


@dataclass(frozen=True)
class AddPrevious(Layer):
    """`add_prev1` …: adds the tagged layer, both first padded with zeros to the larger size."""

    tag: int

    def details(self, reader: Reader, shape: Shape) -> Weights:
        """No weights."""
        del shape
        reader.version("add_prev_")
        return {}

    def output_shape(self, shape: Shape, tags: Tags) -> Shape:
        """The larger operand, axis by axis."""
        return Shape(*map(max, shape, tags[self.tag]))

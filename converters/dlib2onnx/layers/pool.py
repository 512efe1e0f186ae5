"""max_pool_ and avg_pool_."""

from dataclasses import dataclass
from typing import ClassVar

from dlib2onnx.layers.base import Layer, Shape, Tags, Weights, Window
from dlib2onnx.reader import Reader


@dataclass(frozen=True)
class _Pool(Layer):
    window: Window

    written_as: ClassVar[str]

    def details(self, reader: Reader, shape: Shape) -> Weights:
        """No weights."""
        del shape
        reader.version(self.written_as)
        self.window.read(reader, self.name)
        return {}

    def output_shape(self, shape: Shape, tags: Tags) -> Shape:
        """As many channels as before; a window that would hang over the edge is left out."""
        del tags
        return Shape(shape.channels, *self.window.moved_over(shape))


@dataclass(frozen=True)
class MaxPool(_Pool):
    """`max_pool<rows, columns, stride_y, stride_x>`."""

    written_as: ClassVar[str] = "max_pool_2"


@dataclass(frozen=True)
class AveragePool(_Pool):
    """`avg_pool<rows, columns, stride_y, stride_x>`, or over everything with a window of 0×0."""

    written_as: ClassVar[str] = "avg_pool_2"

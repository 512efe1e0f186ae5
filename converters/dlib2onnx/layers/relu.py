"""relu_: max(x, 0)."""

from dataclasses import dataclass

from dlib2onnx.layers.base import Layer, Shape, Weights
from dlib2onnx.reader import Reader


@dataclass(frozen=True)
class Relu(Layer):
    """`relu`."""

    def details(self, reader: Reader, shape: Shape) -> Weights:
        """No weights."""
        del shape
        reader.version("relu_")
        return {}

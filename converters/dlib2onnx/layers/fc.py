"""fc_: a fully connected layer."""

import math
from dataclasses import dataclass

from dlib2onnx.layers.base import Layer, Shape, Tags, Weights, skip_multipliers
from dlib2onnx.reader import Reader

_NO_BIAS_MODE = 1


@dataclass(frozen=True)
class Fc(Layer):
    """`fc_no_bias<outputs>`: x · W."""

    outputs: int

    def details(self, reader: Reader, shape: Shape) -> Weights:
        """Weights: `weight` (inputs, outputs)."""
        inputs = math.prod(shape)
        size = (inputs, self.outputs, 1, 1)
        reader.version("fc_2")
        reader.expect(f"{self.name}: number of outputs", self.outputs)
        reader.expect(f"{self.name}: number of inputs", inputs)
        params = reader.weights(f"{self.name}: params", size)
        reader.alias(f"{self.name}: weights", size)
        reader.alias(f"{self.name}: biases", (0, 0, 0, 0))
        reader.expect(f"{self.name}: bias mode", _NO_BIAS_MODE)
        skip_multipliers(reader, self.name)
        return {"weight": params.reshape(inputs, self.outputs)}

    def output_shape(self, shape: Shape, tags: Tags) -> Shape:
        """One channel an output."""
        del shape, tags
        return Shape(self.outputs, 1, 1)

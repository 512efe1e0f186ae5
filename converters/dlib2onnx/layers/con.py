"""con_: a convolution with a bias."""

from dataclasses import dataclass

from dlib2onnx.layers.base import Layer, Shape, Tags, Weights, Window, skip_multipliers
from dlib2onnx.reader import Reader


@dataclass(frozen=True)
class Con(Layer):
    """`con<filters, rows, columns, stride_y, stride_x>`, a cross-correlation as in ONNX."""

    filters: int
    window: Window

    def details(self, reader: Reader, shape: Shape) -> Weights:
        """Weights: `weight` (filters, channels, rows, columns), `bias` (filters,)."""
        name, filters = self.name, self.filters
        size = (filters, shape.channels, self.window.rows, self.window.columns)
        count = filters * shape.channels * self.window.rows * self.window.columns
        reader.version("con_4")
        params = reader.weights(f"{name}: params", (count + filters, 1, 1, 1)).ravel()
        reader.expect(f"{name}: number of filters", filters)
        self.window.read(reader, name)
        reader.alias(f"{name}: filters", size)
        reader.alias(f"{name}: biases", (1, filters, 1, 1))
        skip_multipliers(reader, name)
        return {"weight": params[:count].reshape(size), "bias": params[count:]}

    def output_shape(self, shape: Shape, tags: Tags) -> Shape:
        """One channel a filter."""
        del tags
        return Shape(self.filters, *self.window.moved_over(shape))

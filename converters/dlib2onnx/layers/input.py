"""input_rgb_image_sized: where the image comes in."""

from dataclasses import dataclass

import numpy as np

from dlib2onnx.errors import DlibFormatError
from dlib2onnx.layers.base import Layer, Shape, Tags, Weights
from dlib2onnx.reader import Reader

_COLOURS = ("red", "green", "blue")


@dataclass(frozen=True)
class Input(Layer):
    """`input_rgb_image_sized<rows, columns>`: (x − mean) / 256, for x from 0 to 255."""

    rows: int
    columns: int

    def open(self, reader: Reader, *, innermost: bool) -> None:
        """Nothing is written: the input is no template around a subnetwork."""

    def close(self, reader: Reader, shape: Shape, *, innermost: bool) -> Weights:
        """Weights: `mean` (3,), in the order red, green, blue."""
        del shape, innermost
        reader.version("input_rgb_image_sized")
        mean = [self._mean(reader, colour) for colour in _COLOURS]
        reader.expect(f"{self.name}: rows", self.rows)
        reader.expect(f"{self.name}: columns", self.columns)
        return {"mean": np.array(mean, np.float32)}

    def output_shape(self, shape: Shape, tags: Tags) -> Shape:
        """The image's."""
        del shape, tags
        return Shape(len(_COLOURS), self.rows, self.columns)

    def _mean(self, reader: Reader, colour: str) -> float:
        start = reader.offset
        mean = reader.real(f"{self.name}: mean {colour}")
        if not 0 <= mean <= 255:
            raise DlibFormatError(
                f"{self.name}: mean {colour} is outside an image's 0 to 255",
                offset=start,
                value=mean,
            )
        return mean

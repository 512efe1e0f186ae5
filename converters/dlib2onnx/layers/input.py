"""input_rgb_image_sized and input_rgb_image_pyramid: where the image comes in."""

from dataclasses import dataclass

import numpy as np

from dlib2onnx.errors import DlibFormatError
from dlib2onnx.layers.base import Layer, Shape, Tags, Weights
from dlib2onnx.reader import Reader

_COLOURS = ("red", "green", "blue")


@dataclass(frozen=True)
class Input(Layer):
    """An RGB image x from 0 to 255, as (x − mean) / 256.

    `input_rgb_image_sized<rows, columns>`; subclasses are dlib's other inputs.
    """

    rows: int
    columns: int

    def open(self, reader: Reader, *, innermost: bool) -> Weights:
        """Nothing is written: the input is no template around a subnetwork."""
        del reader, innermost
        return {}

    def close(self, reader: Reader, shape: Shape, *, innermost: bool) -> Weights:
        """Weights: `mean` (3,), in the order red, green, blue."""
        del shape, innermost
        reader.version("input_rgb_image_sized")
        mean = self._means(reader)
        reader.expect(f"{self.name}: rows", self.rows)
        reader.expect(f"{self.name}: columns", self.columns)
        return {"mean": mean}

    def output_shape(self, shape: Shape, tags: Tags) -> Shape:
        """The image's."""
        del shape, tags
        return Shape(len(_COLOURS), self.rows, self.columns)

    def _means(self, reader: Reader) -> np.ndarray:
        return np.array([self._mean(reader, colour) for colour in _COLOURS], np.float32)

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


@dataclass(frozen=True)
class PyramidInput(Input):
    """`input_rgb_image_pyramid<pyramid_down<rate>>`: an image of any size.

    dlib tiles an image's pyramid into one image here; in ONNX that is left to the caller, so this
    computes what `Input` does.

    Attributes:
        rate: each level of the pyramid is (rate − 1) / rate the size of the one above it.
    """

    rows: int = 0
    columns: int = 0
    rate: int = 6

    def close(self, reader: Reader, shape: Shape, *, innermost: bool) -> Weights:
        """Weights: `mean` (3,), in the order red, green, blue."""
        del shape, innermost
        reader.version("input_rgb_image_pyramid")
        return {"mean": self._means(reader)}

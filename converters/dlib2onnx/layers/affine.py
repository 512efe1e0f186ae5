"""affine_: what a batch normalization becomes after training."""

from dataclasses import dataclass

from dlib2onnx.layers.base import Layer, Shape, Weights
from dlib2onnx.reader import Reader

_CONV_MODE = 0


@dataclass(frozen=True)
class Affine(Layer):
    """`affine`: gamma · x + beta, a factor and a term per channel."""

    def details(self, reader: Reader, shape: Shape) -> Weights:
        """Weights: `gamma` and `beta`, (channels,) each."""
        channels = shape.channels
        reader.version("affine_")
        params = reader.weights(f"{self.name}: params", (2 * channels, 1, 1, 1)).ravel()
        reader.alias(f"{self.name}: gamma", (1, channels, 1, 1))
        reader.alias(f"{self.name}: beta", (1, channels, 1, 1))
        reader.expect(f"{self.name}: mode", _CONV_MODE)
        return {"gamma": params[:channels], "beta": params[channels:]}

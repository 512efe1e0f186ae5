"""bn_con: a batch normalization that training left as it was."""

from dataclasses import dataclass

import numpy as np

from dlib2onnx.errors import DlibFormatError
from dlib2onnx.layers.affine import Affine
from dlib2onnx.layers.base import Shape, Weights, skip_multipliers
from dlib2onnx.reader import Reader


@dataclass(frozen=True)
class BnCon(Affine):
    """`bn_con`, read as the `affine` that dlib makes of it for inference.

    γ (x − running mean) / √(running variance + ε) + β is a factor and a term per channel.
    """

    def details(self, reader: Reader, shape: Shape) -> Weights:
        """Weights: `gamma` and `beta`, (channels,) each, the running statistics worked in."""
        name, channels = self.name, shape.channels
        start = reader.offset
        reader.version("bn_con2")
        params = reader.weights(f"{name}: params", (2 * channels, 1, 1, 1)).ravel()
        reader.alias(f"{name}: gamma", (1, channels, 1, 1))
        reader.alias(f"{name}: beta", (1, channels, 1, 1))
        # Of the last batch of training.
        reader.tensor(f"{name}: means")
        reader.tensor(f"{name}: invstds")
        size = (1, channels, 1, 1)
        mean = reader.weights(f"{name}: running means", size).ravel().astype(np.float64)
        variance = reader.weights(f"{name}: running variances", size).ravel().astype(np.float64)
        reader.count(f"{name}: number of updates")
        reader.count(f"{name}: running statistics' window")
        skip_multipliers(reader, name)
        epsilon = reader.real(f"{name}: epsilon")
        smallest = variance.min() + epsilon
        if not 0 < smallest < np.inf:
            raise DlibFormatError(
                f"{name}: a running variance and epsilon must have a positive sum",
                offset=start,
                value=smallest.item(),
            )
        gamma = params[:channels] / np.sqrt(variance + epsilon)
        beta = params[channels:] - gamma * mean
        # In float64: `fold_affine` rounds, once, and refuses what float32 cannot hold.
        return {"gamma": gamma, "beta": beta}

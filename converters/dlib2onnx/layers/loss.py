"""loss_metric_: the outermost template, which only training uses."""

from dataclasses import dataclass

from dlib2onnx.layers.base import Layer, Shape, Weights
from dlib2onnx.reader import Reader


@dataclass(frozen=True)
class LossMetric(Layer):
    """`loss_metric`; its details come before its subnetwork, unlike all others'."""

    def open(self, reader: Reader, *, innermost: bool) -> None:
        """Read the version, the margin and the distance threshold."""
        del innermost
        reader.expect(f"{self.name}: version of add_loss_layer", 1)
        reader.version("loss_metric_2")
        reader.real(f"{self.name}: margin")
        reader.real(f"{self.name}: distance threshold")

    def close(self, reader: Reader, shape: Shape, *, innermost: bool) -> Weights:
        """Nothing is written."""
        del reader, shape, innermost
        return {}

"""loss_metric_ and loss_mmod_: the outermost templates.

Their details come before their subnetwork, unlike all others'. Training alone uses a metric loss;
what a detector's map means is said by the options of its mmod loss.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dlib2onnx.errors import DlibFormatError
from dlib2onnx.layers.base import Layer, Shape, Weights
from dlib2onnx.reader import Reader

_MAX_WINDOW = 10_000


@dataclass(frozen=True)
class _Loss(Layer):
    written_as: ClassVar[str]

    def open(self, reader: Reader, *, innermost: bool) -> Weights:
        """Read the version and the options."""
        del innermost
        reader.expect(f"{self.name}: version of add_loss_layer", 1)
        reader.version(self.written_as)
        return self.options(reader)

    def options(self, reader: Reader) -> Weights:
        """Read what follows the version."""
        raise NotImplementedError(f"{type(self).__name__} must say what it writes")

    def close(self, reader: Reader, shape: Shape, *, innermost: bool) -> Weights:
        """Nothing is written."""
        del reader, shape, innermost
        return {}


@dataclass(frozen=True)
class LossMetric(_Loss):
    """`loss_metric`."""

    written_as: ClassVar[str] = "loss_metric_2"

    def options(self, reader: Reader) -> Weights:
        """The margin and the distance threshold; nothing is kept."""
        reader.real(f"{self.name}: margin")
        reader.real(f"{self.name}: distance threshold")
        return {}


@dataclass(frozen=True)
class LossMmod(_Loss):
    """`loss_mmod`: max-margin object detection with one sliding window."""

    written_as: ClassVar[str] = "loss_mmod_"

    def options(self, reader: Reader) -> Weights:
        """Read mmod_options of version 1, which knows one window and no box regression.

        Returns:
            `window` (2,) int64, its width and height in pixels; `overlaps_nms` (2,) float64, the
            intersection over union and the covered share above which the weaker of two boxes goes.
        """
        reader.expect(f"{self.name}: version of mmod_options", 1)
        window = [self._side(reader, side) for side in ("width", "height")]
        for what in ("loss per false alarm", "loss per missed target", "truth match"):
            reader.real(f"{self.name}: {what}")
        overlaps = [self._share(reader, f"overlaps_nms {what}") for what in ("IoU", "covered")]
        for what in ("IoU", "covered"):
            self._share(reader, f"overlaps_ignore {what}")
        return {"window": np.array(window), "overlaps_nms": np.array(overlaps, np.float64)}

    def _side(self, reader: Reader, side: str) -> int:
        start = reader.offset
        size = reader.count(f"{self.name}: window's {side}")
        if not 1 <= size <= _MAX_WINDOW:
            raise DlibFormatError(
                f"{self.name}: a window's {side} must be 1 to {_MAX_WINDOW}",
                offset=start,
                value=size,
            )
        return size

    def _share(self, reader: Reader, what: str) -> float:
        start = reader.offset
        share = reader.real(f"{self.name}: {what}")
        if not 0 <= share <= 1:
            raise DlibFormatError(f"{self.name}: {what} must be 0 to 1", offset=start, value=share)
        return share

"""What every layer is: a template of dlib's, which writes once going in and once coming out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from numpy.typing import NDArray

from dlib2onnx.reader import Reader


class Shape(NamedTuple):
    """The size of one sample's activations; rows and columns are 0 where the image decides."""

    channels: int
    rows: int
    columns: int


Tags = Mapping[int, Shape]
# float32 where the graph computes with them; a loss keeps what decoding needs in other types.
Weights = Mapping[str, NDArray[Any]]

_MULTIPLIERS = (
    "learning_rate_multiplier",
    "weight_decay_multiplier",
    "bias_learning_rate_multiplier",
    "bias_weight_decay_multiplier",
)


@dataclass(frozen=True)
class Layer:
    """A computing layer inside dlib's add_layer template; other templates override open and close.

    dlib nests templates, so a file is written from the outside in and back out: first the version
    of every template, then the input layer, then each layer's details. The fields of a subclass
    are the template's arguments; whatever the file repeats of them must agree.

    Attributes:
        name: the layer's name in the ONNX graph.
    """

    name: str = field(default="", kw_only=True)

    def open(self, reader: Reader, *, innermost: bool) -> Weights:
        """Read what the template writes before its subnetwork.

        Args:
            reader: the file.
            innermost: whether the subnetwork is the input layer, for which dlib has its own
                add_layer, with its own version.

        Returns:
            What the layer keeps of it, by name; nothing, but for a loss.
        """
        reader.expect(f"{self.name}: version of add_layer", 3 if innermost else 2)
        return {}

    def close(self, reader: Reader, shape: Shape, *, innermost: bool) -> Weights:
        """Read what the template writes after its subnetwork.

        Args:
            reader: the file.
            shape: what the subnetwork gives.
            innermost: whether the subnetwork is the input layer.

        Returns:
            The layer's weights by name, views of the file.
        """
        weights = self.details(reader, shape)
        self._skip_state(reader, innermost=innermost)
        return weights

    def details(self, reader: Reader, shape: Shape) -> Weights:
        """Read the layer's own fields; see `close`."""
        raise NotImplementedError(f"{type(self).__name__} must say what it writes")

    def output_shape(self, shape: Shape, tags: Tags) -> Shape:
        """The shape of the layer's output, given its input's and those of the tagged layers."""
        del tags
        return shape

    def _skip_state(self, reader: Reader, *, innermost: bool) -> None:
        # What training left behind; nothing of it has a part in inference.
        for flag in (
            "this_layer_setup_called",
            "gradient_input_is_stale",
            "get_output_and_gradient_input_disabled",
        ):
            reader.boolean(f"{self.name}: {flag}")
        for tensor in ("x_grad", "cached_output", "grad_final" if innermost else "params_grad"):
            reader.tensor(f"{self.name}: {tensor}")
        if innermost:
            reader.expect(f"{self.name}: sample_expansion_factor", 1)


def skip_multipliers(reader: Reader, name: str) -> None:
    """Read the four factors that only training uses."""
    for multiplier in _MULTIPLIERS:
        reader.real(f"{name}: {multiplier}")


@dataclass(frozen=True)
class Window:
    """How a filter moves over an image.

    Attributes:
        rows: the window's height; 0 for the whole image.
        columns: the window's width; 0 for the whole image.
        stride_y: the step downwards.
        stride_x: the step to the right.
    """

    rows: int
    columns: int
    stride_y: int
    stride_x: int

    @property
    def padding_y(self) -> int:
        """Rows of padding above and below: dlib pads where it does not stride."""
        return self.rows // 2 if self.stride_y == 1 else 0

    @property
    def padding_x(self) -> int:
        """Columns of padding left and right."""
        return self.columns // 2 if self.stride_x == 1 else 0

    def read(self, reader: Reader, name: str) -> None:
        """Read the six integers in which a layer repeats its window."""
        for what in ("rows", "columns", "stride_y", "stride_x", "padding_y", "padding_x"):
            reader.expect(f"{name}: {what}", getattr(self, what))

    def moved_over(self, shape: Shape) -> tuple[int, int]:
        """Rows and columns of the output; 0 where the image decides."""
        if not self.rows:
            return 1, 1
        if not shape.rows:
            return 0, 0
        return (
            (shape.rows + 2 * self.padding_y - self.rows) // self.stride_y + 1,
            (shape.columns + 2 * self.padding_x - self.columns) // self.stride_x + 1,
        )

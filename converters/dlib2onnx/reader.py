"""dlib's serialization, one primitive a method, every count checked before it is used."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dlib2onnx.errors import DlibFormatError

# float_details.h: these exponents stand for values that mantissa · 2^exponent cannot give.
_SPECIAL_FLOATS = {32000: math.inf, 32001: -math.inf, 32002: math.nan}
_TENSOR_VERSION = 2
_ALIAS_VERSION = 1
_FLOAT32_BYTES = 4
# The strings of a network file are layers' version names, such as "input_rgb_image_sized".
_MAX_STRING = 256

Dimensions = tuple[int, int, int, int]


class Reader:
    """A cursor over the bytes of a dlib file.

    Nothing is copied: tensors are views of `data`, so a file cannot make the reader allocate more
    than it holds. Every method takes `what`, the field's name for the error message, moves the
    cursor behind the field, and raises DlibFormatError where the bytes are not such a field.

    Args:
        data: the whole file.

    Example:
        >>> Reader(bytes([0x02, 0x80, 0x12])).integer("size")
        4736
    """

    def __init__(self, data: bytes):
        self._data = memoryview(data)
        self.offset = 0

    def take(self, count: int, what: str) -> memoryview:
        """The next `count` bytes, not copied."""
        remaining = len(self._data) - self.offset
        if count > remaining:
            raise DlibFormatError(
                f"{what} needs {count} bytes and the file has {remaining} left",
                offset=self.offset,
                value=count,
            )
        start, self.offset = self.offset, self.offset + count
        return self._data[start : self.offset]

    def integer(self, what: str) -> int:
        """An integer: a control byte (sign bit, number of bytes), then the magnitude."""
        start = self.offset
        control = self.take(1, what)[0]
        size = control & 0x0F
        if control & 0x70 or not 1 <= size <= 8:
            raise DlibFormatError(
                f"{what}: an integer's control byte must be 1 to 8, with or without the sign bit",
                offset=start,
                value=control,
            )
        magnitude = int.from_bytes(self.take(size, what), "little")
        return -magnitude if control & 0x80 else magnitude

    def count(self, what: str) -> int:
        """An integer that may not be negative."""
        start = self.offset
        value = self.integer(what)
        if value < 0:
            raise DlibFormatError(f"{what} is negative", offset=start, value=value)
        return value

    def expect(self, what: str, expected: int) -> None:
        """An integer that can only be `expected`."""
        start = self.offset
        value = self.integer(what)
        if value != expected:
            raise DlibFormatError(f"{what} should be {expected}", offset=start, value=value)

    def real(self, what: str) -> float:
        """A float or double: integer mantissa, integer exponent; may be ±inf or NaN."""
        start = self.offset
        mantissa = self.integer(what)
        exponent = self.integer(what)
        if exponent in _SPECIAL_FLOATS:
            return _SPECIAL_FLOATS[exponent]
        try:
            return math.ldexp(mantissa, exponent)
        except OverflowError:
            raise DlibFormatError(
                f"{what}: mantissa · 2^exponent is no float64",
                offset=start,
                value=(mantissa, exponent),
            ) from None

    def boolean(self, what: str) -> bool:
        """A bool: the character 0 or 1."""
        start = self.offset
        character = bytes(self.take(1, what))
        if character not in (b"0", b"1"):
            raise DlibFormatError(
                f"{what}: a bool is the character 0 or 1", offset=start, value=character
            )
        return character == b"1"

    def string(self, what: str) -> str:
        """A short string: its length, then its bytes, one character each."""
        start = self.offset
        length = self.count(f"{what}: length")
        if length > _MAX_STRING:
            raise DlibFormatError(
                f"{what}: a string longer than {_MAX_STRING} characters", offset=start, value=length
            )
        return str(self.take(length, what), "latin-1")

    def version(self, *expected: str) -> str:
        """The string with which a layer's details begin; it can only be one of `expected`."""
        start = self.offset
        value = self.string(f"{' or '.join(expected)}: version")
        if value not in expected:
            raise DlibFormatError(
                f"Expected the layer version {' or '.join(map(repr, expected))}",
                offset=start,
                value=value,
                remedy="The file holds another network, or one that another version of dlib wrote: "
                "only the published files are read.",
            )
        return value

    def tensor(self, what: str, expected: Dimensions | None = None) -> NDArray[np.float32]:
        """A tensor: version, four dimensions, raw little-endian float32.

        Args:
            what: the field's name.
            expected: the only dimensions that are right; None where any are.

        Returns:
            A read-only view of the file, of the file's four dimensions.
        """
        self.expect(f"{what}: tensor version", _TENSOR_VERSION)
        dimensions = self._dimensions(what, expected)
        raw = self.take(math.prod(dimensions) * _FLOAT32_BYTES, what)
        values = np.frombuffer(raw, dtype="<f4").reshape(dimensions)
        return values.astype(np.float32, copy=False)

    def weights(self, what: str, expected: Dimensions) -> NDArray[np.float32]:
        """A tensor of the `expected` dimensions in which every number is finite."""
        start = self.offset
        values = self.tensor(what, expected)
        finite = np.isfinite(values)
        if not finite.all():
            raise DlibFormatError(
                f"{what} holds NaN or infinity", offset=start, value=values[~finite][0].item()
            )
        return values

    def alias(self, what: str, expected: Dimensions) -> None:
        """An alias tensor, a window on another tensor: version and the `expected` dimensions."""
        self.expect(f"{what}: alias version", _ALIAS_VERSION)
        self._dimensions(what, expected)

    def finish(self) -> None:
        """The end of the file."""
        remaining = len(self._data) - self.offset
        if remaining:
            raise DlibFormatError(
                "The network ends before the file does", offset=self.offset, value=remaining
            )

    def _dimensions(self, what: str, expected: Dimensions | None) -> Sequence[int]:
        start = self.offset
        dimensions = tuple(self.count(f"{what}: {axis}") for axis in ("n", "k", "nr", "nc"))
        if expected is not None and dimensions != expected:
            raise DlibFormatError(
                f"{what} should have the size {expected}", offset=start, value=dimensions
            )
        if 0 in dimensions and any(dimensions):
            # Harmless in dlib, but (2^62, 0, 2^62, 0) is a shape that NumPy refuses in its own way.
            raise DlibFormatError(
                f"{what} has no elements, and yet a size", offset=start, value=dimensions
            )
        return dimensions

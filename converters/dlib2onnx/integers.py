"""dlib's integers by the million: a cursor like `Reader` for files that hold nothing else.

An integer is a control byte (sign bit, number of bytes), then the magnitude, so where one begins
is known only once the one before has been read. Decoded one by one in Python the 33 million of
the 68 landmarks take half a minute; here many blocks of the file are decoded side by side. A block
does not know where its first integer begins, but a chain of integers begun anywhere soon falls in
step with the true one; that it did is then checked.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlib2onnx.errors import DlibFormatError

_CHUNK = 2**21  # decoded at a time, so that what is allocated stays small
_BLOCK = 2**10
# How far ahead of its block a chain begins. With 128 the published files have chains that are
# still out of step, with 256 none.
_LEAD = 2**9
_LONGEST = 9  # bytes of an integer, by dlib's format; those read here have 5 at most
_MAX_SIZE = 4
_MASKS = np.array([0, 0xFF, 0xFFFF, 0xFFFFFF, 0xFFFFFFFF], np.uint32)
_LARGEST_EXPONENT = 2**10  # from 32000 on they stand for infinities and NaN


class IntegerReader:
    """A cursor over a dlib file made of integers and floats (each of which is two integers).

    Every count is checked against the file's size before anything is allocated.

    Args:
        data: the whole file.

    Example:
        >>> IntegerReader(bytes([0x02, 0x80, 0x12, 0x81, 0x18])).take(2, "sizes").tolist()
        [4736, -24]
    """

    def __init__(self, data: bytes):
        self._data = np.frombuffer(data, np.uint8)
        self._next = 0  # the first byte that has not been decoded
        self._values = np.empty(0, np.int32)
        self._starts = np.empty(0, np.intp)

    @property
    def offset(self) -> int:
        """Where the next integer begins, in bytes."""
        return int(self._starts[0]) if self._starts.size else self._next

    def take(self, count: int, what: str) -> NDArray[np.int32]:
        """The next `count` integers, each of 4 bytes at most."""
        self._require(count, what)
        parts, missing = [], count
        while missing:
            if not self._values.size:
                self._decode(what)
            parts.append(self._values[:missing])
            self._starts = self._starts[missing:]
            self._values = self._values[missing:]
            missing -= parts[-1].size
        return parts[0] if len(parts) == 1 else np.concatenate(parts or [self._values[:0]])

    def peek(self, what: str) -> int:
        """The next integer, which stays the next."""
        self._require(1, what)
        if not self._values.size:
            self._decode(what)
        return int(self._values[0])

    def count(self, what: str, most: int) -> int:
        """An integer from 1 to `most`."""
        start = self.offset
        value = int(self.take(1, what)[0])
        if not 1 <= value <= most:
            raise DlibFormatError(f"{what} must be 1 to {most}", offset=start, value=value)
        return value

    def expect(self, what: str, *expected: int) -> int:
        """An integer that can only be one of `expected`."""
        start = self.offset
        value = int(self.take(1, what)[0])
        if value not in expected:
            wanted = " or ".join(map(str, expected))
            raise DlibFormatError(f"{what} should be {wanted}", offset=start, value=value)
        return value

    def floats(self, count: int, what: str) -> NDArray[np.float32]:
        """The next `count` floats, all finite."""
        start = self.offset
        pairs = self.take(2 * count, what).reshape(count, 2)
        return decoded_floats(pairs, what, start)

    def finish(self) -> None:
        """The end of the file."""
        remaining = self._data.size - self.offset
        if remaining:
            raise DlibFormatError(
                "What was expected ends before the file does", offset=self.offset, value=remaining
            )

    def _require(self, count: int, what: str) -> None:
        remaining = self._data.size - self.offset
        if 2 * count > remaining:
            raise DlibFormatError(
                f"{what} needs {2 * count} bytes at least and the file has {remaining} left",
                offset=self.offset,
                value=count,
            )

    def _decode(self, what: str) -> None:
        """Decode the next chunk; its last integer may reach into the one after."""
        begin = self._next
        raw = self._data[begin : begin + _CHUNK + _LONGEST]
        if not raw.size:
            raise DlibFormatError(f"{what}: the file ends here", offset=begin, value=0)
        stop = min(_CHUNK, raw.size)
        padded = np.concatenate([raw, np.zeros(_LONGEST, np.uint8)])
        starts, end = boundaries(padded, stop)
        control = padded[starts]
        size = control & 0x7F
        self._refuse(
            (size < 1) | (size > _MAX_SIZE),
            control,
            begin + starts,
            f"{what}, or what follows: an integer's control byte must be 1 to {_MAX_SIZE}, with "
            "or without the sign bit",
        )
        if end > raw.size:
            last = int(starts[-1])
            raise DlibFormatError(
                f"{what} needs {end - last} bytes and the file has {raw.size - last} left",
                offset=begin + last,
                value=end - last,
            )
        # Every offset's next four bytes, as an overlapping view.
        words = np.ndarray((padded.size - _MAX_SIZE,), "<u4", padded, offset=1, strides=(1,))
        magnitude = words[starts] & _MASKS[control & 0x07]
        self._refuse(
            magnitude >> 31 > 0,
            magnitude,
            begin + starts,
            f"{what}, or what follows: an integer larger than any that such a file holds",
        )
        values = magnitude.astype(np.int32)
        self._values = np.where(control & 0x80, -values, values)
        self._starts = starts + begin
        self._next = begin + end

    def _refuse(
        self,
        wrong: NDArray[np.bool_],
        values: NDArray[Any],
        offsets: NDArray[np.intp],
        problem: str,
    ) -> None:
        if wrong.any():
            first = int(np.argmax(wrong))
            raise DlibFormatError(problem, offset=int(offsets[first]), value=int(values[first]))


def boundaries(raw: NDArray[np.uint8], stop: int) -> tuple[NDArray[np.intp], int]:
    """Where the integers begin that begin in the first `stop` bytes, one of them at 0.

    Args:
        raw: the bytes, and enough of them behind `stop` for the last integer.
        stop: where to end.

    Returns:
        The offsets in order, and that of the first integer from `stop` on.
    """
    step: NDArray[np.uint8] = ((raw & 0x0F) + 1).astype(np.uint8)
    step[-1] = 0  # whatever runs over the end stays there
    edges = np.arange(0, stop, _BLOCK)
    limits = np.append(edges[1:], stop)
    position = np.maximum(edges - _LEAD, 0)
    while (behind := position < edges).any():
        position = position + np.where(behind, step.take(position, mode="clip"), 0)
    rows = [position]
    while (position < limits).any():
        position = position + step.take(position, mode="clip")
        rows.append(position)
    chains = np.stack(rows, axis=1)  # (blocks, integers), the last ones beyond the block
    inside = chains < limits[:, None]
    ends = chains[np.arange(len(edges)), inside.sum(axis=1)]
    if (ends[:-1] != chains[1:, 0]).any():
        return _one_by_one(step, stop)
    return chains[inside], int(ends[-1])


def _one_by_one(step: NDArray[np.uint8], stop: int) -> tuple[NDArray[np.intp], int]:
    # Only for files made to keep chains out of step: a hundred times slower, and always right.
    steps, starts, position = step.tobytes(), [], 0
    while position < stop:
        starts.append(position)
        position += steps[position]
    return np.array(starts, np.intp), position


def decoded_floats(pairs: NDArray[np.int32], what: str, offset: int) -> NDArray[np.float32]:
    """Mantissa · 2^exponent.

    Args:
        pairs: (…, 2) mantissa and exponent.
        what: the field's name.
        offset: where in the file the first of them begins, in bytes.

    Raises:
        DlibFormatError: one is infinite or NaN, or too large for float32.
    """
    exponent = pairs[..., 1]
    with np.errstate(over="ignore"):
        values = np.ldexp(pairs[..., 0].astype(np.float64), np.clip(exponent, -1100, 1100))
        rounded = values.astype(np.float32)
    wrong = ~np.isfinite(rounded) | (np.abs(exponent) > _LARGEST_EXPONENT)
    if wrong.any():
        raise DlibFormatError(
            f"{what}: a number that is not finite",
            offset=offset,
            value=tuple(pairs[wrong][0].tolist()),
        )
    return rounded

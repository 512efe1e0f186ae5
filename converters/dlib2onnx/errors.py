"""The one error that broken input raises."""

from functools import partial

DAMAGED = (
    "The file is truncated or damaged, or holds another kind of dlib object: "
    "fetch it again and compare its sha256 with the publisher's."
)
_VALUE_CHARACTERS = 80


class DlibFormatError(ValueError):
    """The bytes are not the dlib network that they should be.

    Attributes:
        offset: where in the file the offending field begins, in bytes.
        value: the value found there.

    Example:
        >>> DlibFormatError("The version is not 2", offset=7, value=9, remedy="Fetch it again.")
        DlibFormatError('The version is not 2 (at byte 7, value 9). Fetch it again.')
    """

    def __init__(self, problem: str, *, offset: int, value: object, remedy: str = DAMAGED):
        self.offset = offset
        self.value = value
        self._problem = problem
        self._remedy = remedy
        super().__init__(f"{problem} (at byte {offset}, value {_shortened(value)}). {remedy}")

    def __reduce__(self):
        # The default would call __init__ without its keywords, and fail in the parent of a worker.
        again = partial(type(self), offset=self.offset, value=self.value, remedy=self._remedy)
        return again, (self._problem,)


def _shortened(value: object) -> str:
    # A hostile file chooses the value: it must not choose the length of the message.
    text = repr(value)
    return text if len(text) <= _VALUE_CHARACTERS else text[: _VALUE_CHARACTERS - 1] + "…"

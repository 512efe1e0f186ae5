"""insightface's .bin sets: a pickle of ([encoded image, …], [same, …]), read without unpickling.

A pickle is a program. This module never runs it: `pickletools` splits the file into its
instructions, and those that build lists, tuples, bytes, text and truth values are followed by hand.
Nothing can be imported, called or set, whatever the file says. What is kept of an image is its
place in the file, so that a large set needs little memory; its bytes are read when it is asked for.
"""

from __future__ import annotations

import io
import mmap
import pickletools
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from fggb_jax.data.images import decode_image
from fggb_jax.data.pair_list import Note, PairImage, PairList
from fggb_jax.errors import FggbError, ImageError

MAX_INSTRUCTIONS = 8_000_000  # nine an image at most, so more than 400,000 pairs
MAX_BYTES = 1 << 28  # of one entry

# Instructions whose value is a run of bytes in the file: what stands between them and that run.
_BYTES = {"SHORT_BINSTRING": 2, "BINSTRING": 5, "SHORT_BINBYTES": 2, "BINBYTES": 5, "BINBYTES8": 9}
_TEXT = {"SHORT_BINUNICODE": 2, "BINUNICODE": 5, "BINUNICODE8": 9}
_NUMBERS = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1")
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
# How Python 3 writes bytes for Python 2: encode(text, "latin1"), and bytes() for no bytes at all.
_ENCODE = ("_codecs encode",)
_EMPTY = ("__builtin__ bytes", "builtins bytes")
_MARK = object()


def looks_like_pickle(path: Path, head: bytes) -> bool:
    """Whether a file is read as a .bin: its ending, or the first byte of pickles since 2003."""
    return path.suffix.lower() in (".bin", ".pkl", ".pickle") or head[:1] == b"\x80"


def read_bin(path: str | Path) -> PairList:
    """Read an insightface .bin: pair i compares images 2i and 2i + 1.

    The pickles of Python 2 and 3 are read, of every protocol but 0. Equal images are one
    image: LFW's set has 12,000 places and 7,701 photographs. Ten consecutive folds, which
    insightface's own evaluation uses, are given where each of them has pairs of both kinds.

    Args:
        path: the file.

    Raises:
        FggbError: no pickle, cut off, or one that would do anything but hold a list of encoded
            images and a list of truth values; nothing that it says has been done.
        OSError: the file cannot be opened.
    """
    path = Path(path)
    with path.open("rb") as file:
        try:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:
            raise FggbError(f"{path} is empty") from None
        with data:
            try:
                found = _follow(data)
                runs, labels = _lists(found)
                images, pairs = _images(path, data, runs)
            except _NotAllowed as error:
                raise FggbError(
                    f"{path} is no pair set: {error}; it must be a pickle of a list of encoded "
                    "images (bytes) and a list of truth values, and nothing of it was executed"
                ) from None
            except (ValueError, AssertionError, OverflowError, MemoryError) as error:
                raise FggbError(
                    f"{path} is no pickle that can be read ({str(error)[:200]}); is it cut off?"
                ) from None
    same = np.array(labels, bool)
    return PairList(images, pairs, same, _folds(same), f"{path}: {len(pairs):,} pairs")


@dataclass(frozen=True)
class EncodedImage:
    """An encoded image within a .bin file.

    Attributes:
        name: the file's name and the image's first place among its images.
        path: the .bin file.
        start: of its bytes in the file.
        size: their number.
        text: whether they are written as text, each byte a character in UTF-8.
    """

    name: str
    path: Path
    start: int
    size: int
    text: bool = False

    def read(self, note: Note | None = None) -> np.ndarray:
        """The (H, W, 3) uint8 RGB pixels; see `PairImage`."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.start)
                data = file.read(self.size)
        except OSError as error:
            raise ImageError(f"{self.name} cannot be read: {error}") from None
        return decode_image(io.BytesIO(_plain(data, self.text)), self.name, note)


class _NotAllowed(Exception):
    """What the file holds and a pair set does not."""


class _Run(NamedTuple):
    """Bytes or text: a place in the file."""

    start: int
    size: int
    kind: Literal["bytes", "text", "text as bytes"]


class _Name(NamedTuple):
    """Something the pickle wants to import; it stays a word."""

    words: str


class _Reader:
    """The file for `pickletools`: never more in one piece than `MAX_BYTES`."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.tell = data.tell

    def read(self, size: int) -> bytes:
        if size > MAX_BYTES:
            raise _NotAllowed(f"one of its entries has {size:,} bytes")
        return self.data.read(size)

    def readline(self) -> bytes:
        start = self.data.tell()
        end = self.data.find(b"\n", start, start + 200) + 1
        if not end:
            raise _NotAllowed("it has a line without an end (protocol 0 is not read)")
        return self.data.read(end - start)


def _follow(data: mmap.mmap) -> Any:
    """What the pickle builds: nested lists and tuples of `_Run`, `_Name`, bool and int."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    instructions = pickletools.genops(_Reader(data))  # pyright: ignore[reportArgumentType]
    for count, (code, arg, place) in enumerate(instructions):
        start = place or 0
        if count >= MAX_INSTRUCTIONS:
            raise _NotAllowed(f"it has more than {MAX_INSTRUCTIONS:,} instructions")
        name = code.name
        if name in _BYTES:
            offset = start + _BYTES[name]
            stack.append(_Run(offset, data.tell() - offset, "bytes"))
        elif name in _TEXT:
            offset = start + _TEXT[name]
            stack.append(_Run(offset, data.tell() - offset, "text"))
        elif name in ("NEWTRUE", "NEWFALSE"):
            stack.append(name == "NEWTRUE")
        elif name in _NUMBERS:
            stack.append(arg)
        elif name in ("EMPTY_LIST", "MARK"):
            stack.append([] if name == "EMPTY_LIST" else _MARK)
        elif name in ("LIST", "TUPLE"):
            values = _from_mark(stack)
            stack.append(values if name == "LIST" else tuple(values))
        elif name in _TUPLES:
            stack.append(tuple(_pop(stack, _TUPLES[name])))
        elif name in ("APPEND", "APPENDS"):
            values = _pop(stack, 1) if name == "APPEND" else _from_mark(stack)
            if not (stack and isinstance(stack[-1], list)):
                raise _NotAllowed("it appends to something that is no list")
            stack[-1] += values
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if arg is None else arg] = _pop(stack, 1)[0]
            stack.append(memo[len(memo) - 1 if arg is None else arg])
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            if arg not in memo:
                raise _NotAllowed(f"it refers to entry {arg} of its memory, which is not there")
            stack.append(memo[arg])
        elif name == "GLOBAL":
            stack.append(_named(str(arg)))
        elif name == "STACK_GLOBAL":
            stack.append(_named(" ".join(_word(data, value) for value in _pop(stack, 2))))
        elif name == "REDUCE":
            stack.append(_bytes_of_python_2(data, *_pop(stack, 2)))
        elif name == "STOP":
            return _pop(stack, 1)[0]
        elif name not in ("PROTO", "FRAME"):
            raise _NotAllowed(f"it uses the instruction {name}")
    raise _NotAllowed("it has no end")


def _pop(stack: list[Any], count: int) -> list[Any]:
    values = stack[len(stack) - count :] if len(stack) >= count else [_MARK]
    if any(value is _MARK for value in values):
        raise _NotAllowed("it takes more from its stack than there is")
    del stack[len(stack) - count :]
    return values


def _from_mark(stack: list[Any]) -> list[Any]:
    values: list[Any] = []
    while stack:
        if (value := stack.pop()) is _MARK:
            return values[::-1]
        values.append(value)
    raise _NotAllowed("it takes more from its stack than there is")


def _named(words: str) -> _Name:
    if words not in _ENCODE + _EMPTY:
        raise _NotAllowed(f"it wants to import {words.replace(' ', '.', 1)[:80]!r}")
    return _Name(words)


def _word(data: mmap.mmap, value: Any) -> str:
    """A short text on the stack."""
    if not isinstance(value, _Run) or value.kind != "text":
        raise _NotAllowed("it names something by what is no text")
    return data[value.start : value.start + min(value.size, 80)].decode("utf-8", "replace")


def _bytes_of_python_2(data: mmap.mmap, called: Any, arguments: Any) -> _Run:
    """The two calls that stand for bytes; they are recognised, not made."""
    if isinstance(called, _Name) and isinstance(arguments, tuple):
        if called.words in _EMPTY and not arguments:
            return _Run(0, 0, "bytes")
        if called.words in _ENCODE and len(arguments) == 2:
            text, encoding = arguments
            latin = _word(data, encoding) in ("latin1", "latin-1")
            if latin and isinstance(text, _Run) and text.kind == "text":
                return text._replace(kind="text as bytes")
    raise _NotAllowed("it wants to call something")


def _lists(found: Any) -> tuple[list[_Run], list[bool]]:
    """The two lists of a pair set.

    Raises:
        _NotAllowed: it is anything else.
    """
    if not (isinstance(found, tuple | list) and len(found) == 2):
        raise _NotAllowed("it does not hold two lists")
    runs, labels = found
    if not (isinstance(runs, tuple | list) and isinstance(labels, tuple | list)):
        raise _NotAllowed("it does not hold two lists")
    for i, run in enumerate(runs):
        if not isinstance(run, _Run) or run.kind == "text":
            raise _NotAllowed(f"entry {i} of its images is not bytes")
    for i, label in enumerate(labels):
        if not isinstance(label, int) or label not in (0, 1):
            raise _NotAllowed(f"entry {i} of its second list is not true or false")
    if not labels or len(runs) != 2 * len(labels):
        raise _NotAllowed(f"it has {len(runs)} images for {len(labels)} pairs")
    return list(runs), [bool(label) for label in labels]


def _images(path: Path, data: mmap.mmap, runs: list[_Run]) -> tuple[list[PairImage], np.ndarray]:
    """The images, each once, and the pairs as indices into them."""
    images: list[PairImage] = []
    by_run: dict[_Run, int] = {}  # first, so that no byte of the file is hashed twice
    by_content: dict[bytes, int] = {}
    slots: list[int] = []
    for place, run in enumerate(runs):
        if run not in by_run:
            text = run.kind == "text as bytes"
            content = _plain(data[run.start : run.start + run.size], text)
            by_run[run] = by_content.setdefault(blake2b(content).digest(), len(images))
            if by_run[run] == len(images):
                name = f"{path.name}[{place}]"
                images.append(EncodedImage(name, path, run.start, run.size, text))
        slots.append(by_run[run])
    return images, np.array(slots, np.int64).reshape(-1, 2)


def _plain(data: bytes, text: bool) -> bytes:
    """The image's bytes.

    Raises:
        _NotAllowed: text that no bytes were written as.
    """
    if not text:
        return data
    try:
        return data.decode("utf-8").encode("latin-1")
    except UnicodeError:
        raise _NotAllowed("text stands for bytes, and holds what is no byte") from None


def _folds(same: np.ndarray) -> np.ndarray | None:
    """Ten consecutive parts, the first ones longer by one where they cannot be equal."""
    parts = np.array_split(same, 10)
    if any(part.all() or not part.any() for part in parts):
        return None
    return np.repeat(np.arange(10), [len(part) for part in parts])

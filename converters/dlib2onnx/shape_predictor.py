"""dlib's landmark predictors (Kazemi and Sullivan, CVPR 2014) as NumPy arrays.

A predictor is a cascade of forests. Each level looks at the grey values of a few pixels, placed
relative to the shape so far; every tree of its forest compares pairs of them and adds the leaf
where it ends to the shape.
"""

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dlib2onnx.errors import DlibFormatError
from dlib2onnx.files import contents
from dlib2onnx.integers import IntegerReader, decoded_floats

_MAX_POINTS = 10_000
_MAX_LEVELS = 1_000
_MAX_TREES = 100_000
_MAX_SPLITS = 2**15 - 1
_MAX_PIXELS = 100_000


@dataclass(frozen=True, eq=False)
class Level:
    """One forest of T trees, each of S splits and S + 1 leaves, and the F pixels it looks at.

    A tree is complete: from split i it goes on to 2i + 1 where pixel `first` − pixel `second` >
    `threshold`, else to 2i + 2; places from S on are the leaves.

    Attributes:
        first: (T, S) int32, an index of `anchor`.
        second: (T, S) int32.
        threshold: (T, S) float32, in grey values.
        leaves: (T, S + 1, P, 2) float32, what is added to the shape.
        anchor: (F,) int32, the point of the shape that each pixel belongs to.
        delta: (F, 2) float32, the pixel's place from there, x and y.
    """

    first: NDArray[np.int32]
    second: NDArray[np.int32]
    threshold: NDArray[np.float32]
    leaves: NDArray[np.float32]
    anchor: NDArray[np.int32]
    delta: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ShapePredictor:
    """A predictor of P points.

    Attributes:
        initial_shape: (P, 2) float32, x and y, where (0, 0) is the face box's first pixel and
            (1, 1) its last.
        levels: the cascade, in order.
    """

    initial_shape: NDArray[np.float32]
    levels: tuple[Level, ...]


def read_shape_predictor(source: str | os.PathLike[str] | bytes) -> ShapePredictor:
    """Read a dlib shape predictor.

    Args:
        source: the path of `shape_predictor_5_face_landmarks.dat`, or of the one of 68 points, or
            its bytes.

    Returns:
        Its arrays.

    Raises:
        DlibFormatError: if the source is no such predictor.
        OSError: if the file cannot be read.

    Example:
        >>> path = "shape_predictor_5_face_landmarks.dat"
        >>> read_shape_predictor(path).initial_shape.shape  # doctest: +SKIP
        (5, 2)
    """
    reader = IntegerReader(contents(source))
    reader.expect("shape_predictor: version", 1)
    initial = _initial_shape(reader)
    levels = reader.count("forests: levels", _MAX_LEVELS)
    forests = [_forest(reader, len(initial), f"level {i}") for i in range(levels)]
    reader.expect("anchors: levels", levels)
    anchors = [_anchor(reader, len(initial), f"anchors of level {i}") for i in range(levels)]
    reader.expect("deltas: levels", levels)
    deltas = [_delta(reader, len(anchor), f"deltas {i}") for i, anchor in enumerate(anchors)]
    reader.finish()
    pixels = [len(anchor) for anchor in anchors]
    for i, (forest, count) in enumerate(zip(forests, pixels, strict=True)):
        _check_indices(forest[0], count, f"level {i}: first pixel")
        _check_indices(forest[1], count, f"level {i}: second pixel")
    return ShapePredictor(
        initial,
        tuple(
            Level(*forest, anchor, delta)
            for forest, anchor, delta in zip(forests, anchors, deltas, strict=True)
        ),
    )


def _initial_shape(reader: IntegerReader) -> NDArray[np.float32]:
    start = reader.offset
    rows, columns = reader.take(2, "initial shape: size").tolist()
    # dlib writes sizes negative; it used to write them positive.
    if abs(columns) != 1 or rows % 2 or not 2 <= abs(rows) <= 2 * _MAX_POINTS:
        raise DlibFormatError(
            "initial shape should be one column of x and y in turn",
            offset=start,
            value=(rows, columns),
        )
    return reader.floats(abs(rows), "initial shape").reshape(-1, 2)


def _forest(
    reader: IntegerReader, points: int, what: str
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
    """Read the trees of a level; all are of one size, so they are the rows of one table."""
    trees = reader.count(f"{what}: trees", _MAX_TREES)
    start = reader.offset
    splits = reader.peek(f"{what}: splits")
    leaves = splits + 1
    if not 1 <= splits <= _MAX_SPLITS or leaves & splits:
        raise DlibFormatError(
            f"{what}: splits of a complete tree are 2^depth − 1, {_MAX_SPLITS} at most",
            offset=start,
            value=splits,
        )
    leaf = 2 + 2 * 2 * points
    table = reader.take(trees * (1 + 4 * splits + 1 + leaves * leaf), what).reshape(trees, -1)
    head, split, middle, rest = np.split(table, np.cumsum([1, 4 * splits, 1]), axis=1)
    split = split.reshape(trees, splits, 4)
    rest = rest.reshape(trees, leaves, leaf)
    _check_all(head == splits, head, f"{what}: splits of every tree", splits, start)
    _check_all(middle == leaves, middle, f"{what}: leaves of every tree", leaves, start)
    size = np.abs(rest[..., :2])
    right = size == (2 * points, 1)
    _check_all(right, size, f"{what}: size of every leaf", (2 * points, 1), start)
    threshold = decoded_floats(split[..., 2:], f"{what}: thresholds", start)
    values = decoded_floats(
        rest[..., 2:].reshape(trees, leaves, points, 2, 2), f"{what}: leaves", start
    )
    first, second = split[..., 0].copy(), split[..., 1].copy()
    return first, second, threshold, values


def _anchor(reader: IntegerReader, points: int, what: str) -> NDArray[np.int32]:
    pixels = reader.count(f"{what}: pixels", _MAX_PIXELS)
    start = reader.offset
    anchor = reader.take(pixels, what)
    _check_indices(anchor, points, what, start)
    return anchor


def _delta(reader: IntegerReader, pixels: int, what: str) -> NDArray[np.float32]:
    reader.expect(f"{what}: pixels", pixels)
    return reader.floats(2 * pixels, what).reshape(pixels, 2)


def _check_indices(indices: NDArray[np.int32], size: int, what: str, offset: int = 0) -> None:
    inside = (indices >= 0) & (indices < size)
    _check_all(inside, indices, what, f"0 to {size - 1}", offset)


def _check_all(
    right: NDArray[np.bool_], found: NDArray[np.int32], what: str, wanted: object, offset: int
) -> None:
    if not right.all():
        raise DlibFormatError(
            f"{what} should be {wanted}", offset=offset, value=found[~right][0].item()
        )

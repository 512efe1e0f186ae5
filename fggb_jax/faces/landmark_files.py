"""Landmarks that users bring, as JSON or CSV.

JSON, as `fggb_jax/data/portraits/landmarks.json` shows; entries beside `photos` are ignored:

    {"photos": {"ann.jpg": {"arcface-5": [[124.9, 130.4], [194.5, 130.3], …]}}}

CSV, a line for each photograph and scheme; columns for points that a scheme lacks stay empty:

    photo,scheme,x1,y1,x2,y2,x3,y3,x4,y4,x5,y5
    ann.jpg,arcface-5,124.9,130.4,194.5,130.3,161.0,168.2,126.1,199.0,192.6,199.1

Photographs are named relative to the file. Coordinates are pixels of the upright photograph, after
its EXIF orientation; [0, 0] is the centre of the pixel at the left top.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fggb_jax.errors import FggbError, ImageError
from fggb_jax.faces.landmarks import check_points, check_scheme

Landmarks = dict[str, np.ndarray]


def read_landmarks(path: str | Path) -> dict[Path, Landmarks]:
    """Read the landmarks of photographs from a .json or .csv file, in the forms shown above.

    Returns:
        The photograph's absolute path → name of the scheme → (P, 2) float32, x then y.

    Raises:
        ImageError: the file cannot be read, or says something that cannot be; its line is named.

    Example:
        >>> points = read_landmarks("landmarks.json")        # doctest: +SKIP
        >>> points[Path("ann.jpg").resolve()]["arcface-5"].shape    # doctest: +SKIP
        (5, 2)
    """
    path = Path(path)
    readers = {".json": _from_json, ".csv": _from_csv}
    if path.suffix.lower() not in readers:
        raise ImageError(f"{path} ends in {path.suffix!r}; landmarks are read from .json and .csv")
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise ImageError(f"no such file of landmarks: {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ImageError(f"{path} cannot be read as text: {error}") from None
    found: dict[Path, Landmarks] = {}
    for line, photo, scheme, points in readers[path.suffix.lower()](text, path):
        try:
            check_scheme(scheme)
            array = check_points(points, scheme).astype(np.float32)
        except FggbError as error:
            raise ImageError(f"{path}, line {line}, {photo!r}: {error}") from None
        of_photo = found.setdefault((path.parent / photo).resolve(), {})
        if scheme in of_photo:
            raise ImageError(
                f"{path}, line {line}: {photo!r} has {scheme} landmarks already; a photograph has "
                "one face here"
            )
        of_photo[scheme] = array
    return found


# Line, photograph, scheme, points, one each face and scheme.
_Rows = Iterator[tuple[int, str, str, np.ndarray]]


def _from_csv(text: str, path: Path) -> _Rows:
    rows = csv.reader(io.StringIO(text, newline=""))
    header = [name.strip() for name in next(rows, [])]
    wanted = ["photo", "scheme"] + [
        f"{c}{i + 1}" for i in range(len(header) // 2 - 1) for c in "xy"
    ]
    if header != wanted or len(header) < 4:
        raise ImageError(
            f"{path}, line 1: the header is {','.join(header)!r}; it must be "
            "photo,scheme,x1,y1,x2,y2 and so on"
        )
    for row in rows:
        line = rows.line_num
        if not row:
            continue
        if len(row) > len(header):
            raise ImageError(
                f"{path}, line {line}: {len(row)} cells; the header has {len(header)} columns"
            )
        cells = [cell.strip() for cell in row]
        while cells and not cells[-1]:
            cells.pop()
        if len(cells) < 2 or not cells[0]:
            raise ImageError(f"{path}, line {line}: it must begin with a photograph and a scheme")
        if len(cells) % 2:
            raise ImageError(f"{path}, line {line}: point {len(cells) // 2} has an x but no y")
        try:
            values = [float(cell) for cell in cells[2:]]
        except ValueError:
            bad = next(i for i, cell in enumerate(cells) if i > 1 and not _is_number(cell))
            raise ImageError(
                f"{path}, line {line}: {header[bad]} is {cells[bad]!r}, not a number"
            ) from None
        yield line, cells[0], cells[1], np.array(values).reshape(-1, 2)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _from_json(text: str, path: Path) -> _Rows:
    try:
        content = json.loads(text, object_pairs_hook=_Pairs, parse_int=float)
    except json.JSONDecodeError as error:
        raise ImageError(f"{path}, line {error.lineno}: no JSON ({error.msg})") from None
    except RecursionError:
        raise ImageError(f"{path}: it is nested too deeply") from None
    photos = content.get("photos") if isinstance(content, _Pairs) else None
    if not isinstance(photos, _Pairs):
        raise ImageError(
            f'{path}, line 1: it must be an object with an entry "photos", itself an object: '
            '{"photos": {"ann.jpg": {"arcface-5": [[x, y], …]}}}'
        )
    start = 0
    for photo, by_scheme in photos:
        start = _find(text, photo, start)
        if not isinstance(by_scheme, _Pairs):
            raise ImageError(
                f"{path}, line {_line(text, start)}: {photo!r} must be an object, scheme → points"
            )
        for scheme, points in by_scheme:
            start = _find(text, scheme, start)
            line = _line(text, start)
            if not _is_points(points):
                raise ImageError(
                    f"{path}, line {line}: {scheme!r} of {photo!r} must be a list of points [x, y]"
                )
            yield line, photo, scheme, np.array(points, np.float64).reshape(-1, 2)


class _Pairs(list[tuple[str, Any]]):
    """An object of JSON, its repeated keys kept."""

    def get(self, key: str) -> Any:
        return next((value for name, value in self if name == key), None)


def _is_points(value: Any) -> bool:
    number = (int, float)
    return type(value) is list and all(
        type(point) is list and len(point) == 2 and all(type(x) in number for x in point)
        for point in value
    )


def _find(text: str, key: str, start: int) -> int:
    """Where a key stands, at `start` or later; `start` where it is written with escapes."""
    match = re.compile(f'"{re.escape(key)}"\\s*:').search(text, start)
    return match.start() if match else start


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1

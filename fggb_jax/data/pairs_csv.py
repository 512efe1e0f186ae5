"""PAIRS.csv: a header with probe,gallery and, where known, same; paths relative to the file."""

from __future__ import annotations

import csv
import io
import posixpath
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fggb_jax.data.pair_list import ImageFile, PairList, index, refuse_if_all_missing
from fggb_jax.errors import FggbError

_SAME = {"0": False, "1": True}


def read_csv(path: str | Path, images_root: str | Path | None = None) -> PairList:
    """Read a PAIRS.csv.

    A byte-order mark, CRLF, quoted commas, blank lines, further columns and any order of the
    columns are fine. `./a.jpg` and `a.jpg` are one image.

    Args:
        path: the file, UTF-8.
        images_root: what the paths in it are relative to; by default the file's own folder.

    Raises:
        FggbError: naming the file, the line and the value: a column is missing or named twice,
            a path is empty, `same` is not 0 or 1, quotes are not closed, not UTF-8, no pairs; or
            not one of the images is there.
    """
    path = Path(path)
    rows = _rows(path)
    line, header = next(rows, (1, []))
    columns = _columns(header, f"{path}, line {line}")
    names: list[tuple[str, str]] = []
    same: list[bool] = []
    for line, row in rows:
        where = f"{path}, line {line}"
        if len(row) < len(header) or any(row[len(header) :]):
            raise FggbError(
                f"{where}: {len(row)} values under {len(header)} columns: {','.join(row)!r}; "
                "quote paths that hold a comma"
            )
        names.append((_image(row, columns, "probe", where), _image(row, columns, "gallery", where)))
        if "same" in columns:
            same.append(_label(row[columns["same"]], where))
    if not names:
        raise FggbError(f"{path}: no pairs below the header; write one pair a line")
    unique, pairs = index(names)
    root = Path(images_root) if images_root is not None else path.parent
    images = [ImageFile(name, root / name) for name in unique]
    where = "paths are relative to the file, or to the folder of --images (images_root in Python)"
    refuse_if_all_missing(images, str(path), where)
    labels = np.array(same, bool) if "same" in columns else None
    return PairList(images, pairs, labels, source=f"{path}: {len(pairs):,} pairs")


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and values of every line that holds anything."""
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FggbError(
            f"{path}, line {line}: byte {data[error.start : error.start + 1]!r} is not UTF-8; "
            "save the file as UTF-8"
        ) from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            if any(value.strip() for value in row):
                yield reader.line_num, [value.strip() for value in row]
    except csv.Error as error:
        raise FggbError(
            f"{path}, line {reader.line_num}: {error}; are all quotes closed?"
        ) from None


def _columns(header: list[str], where: str) -> dict[str, int]:
    names = [name.lower() for name in header]
    for name in ("probe", "gallery", "same"):
        if names.count(name) > 1:
            raise FggbError(f"{where}: the column {name!r} is there {names.count(name)} times")
        if name != "same" and name not in names:
            raise FggbError(
                f"{where}: no column {name!r} in the header {','.join(header)!r}; it must have "
                "probe,gallery and may have same"
            )
    return {name: names.index(name) for name in ("probe", "gallery", "same") if name in names}


def _image(row: list[str], columns: dict[str, int], column: str, where: str) -> str:
    if not (name := row[columns[column]]):
        raise FggbError(f"{where}: the path under {column!r} is empty: {','.join(row)!r}")
    return posixpath.normpath(name)


def _label(value: str, where: str) -> bool:
    if value not in _SAME:
        raise FggbError(
            f"{where}: same is {value!r}; give 1 for the same person, 0 for another, or leave the "
            "whole column out"
        )
    return _SAME[value]

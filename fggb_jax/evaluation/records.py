"""Records on disk, a line each, so that whatever ends a run loses one line at most."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fggb_jax.errors import OptionError
from fggb_jax.models import disk

Record = dict[str, Any]  # as of `evaluate.run`

RUN, RECORDS = "run.json", "records.jsonl"  # the files of a folder


def resume(folder: Path, run: Mapping[str, Any]) -> list[Record]:
    """The records that a folder has of the same run.

    Args:
        folder: may be empty.
        run: what records depend on, as plain values.

    Raises:
        OptionError: the folder has another run's records.
    """
    path, text = folder / RUN, json.dumps(run, indent=1, ensure_ascii=False, sort_keys=True)
    if not path.is_file():
        disk.write(path, io.BytesIO(text.encode()))
    elif (before := path.read_text("utf-8")) != text:
        raise OptionError(
            f"{folder} has a run with other {_changed(before, run)}: give another --out, or, to go "
            f"on with that run, the settings that {path} says it had"
        )
    return read_records(folder / RECORDS)


def _changed(before: str, run: Mapping[str, Any]) -> str:
    try:
        old = json.loads(before)
    except json.JSONDecodeError:
        return "settings"
    now = json.loads(json.dumps(run))
    return ", ".join(key for key in now if old.get(key) != now[key]) or "settings"


def read_records(path: Path) -> list[Record]:
    """The records of an earlier run; a last line that was cut off is left out."""
    try:
        # Bytes: a cut may go through a character, and str knows more ends of a line than this one.
        lines = path.read_bytes().removesuffix(b"\n").split(b"\n")
    except FileNotFoundError:
        return []
    records = []
    for number, line in enumerate(lines, 1):
        try:
            records.append(json.loads(line))
        except ValueError:
            if number < len(lines):
                raise OptionError(
                    f"{path}, line {number}, is damaged: remove that line and give the same "
                    "command again, which makes its result anew"
                ) from None
    return records


def write_records(path: Path, records: Iterator[Record], known: Sequence[Record]) -> list[Record]:
    """Append records as they come; all of them, the known ones first."""
    kept = [record for record in known if "error" not in record]
    # Anew: a cut-off line and errors that are tried again are gone then. In one step, since a run
    # that is stopped here must not lose what others have made.
    disk.write(path, io.BytesIO("".join(map(_line, kept)).encode()))
    with path.open("a", encoding="utf-8") as file:
        for record in records:
            file.write(_line(record))
            file.flush()
            kept.append(record)
    return kept


def _line(record: Record) -> str:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n"

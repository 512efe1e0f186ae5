"""What commands print and write."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from fggb_jax.errors import FggbError

notes = Console(stderr=True, highlight=False, soft_wrap=True)
# In a pipe a table is as wide as it needs to be: whatever reads it must not meet cut-off words.
results = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)


def note(text: str) -> None:
    notes.print(f"[yellow]note:[/] {escape(text)}")


@contextmanager
def progress(title: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar on a terminal, nothing in a pipe."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=notes, transient=True, disable=not notes.is_terminal)
    with bar:
        task = bar.add_task(escape(title), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """A folder to write results to; what goes wrong is one line."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise FggbError(f"cannot write to {folder}: {error.strerror or error}") from None


def write_csv(path: Path, header: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])

"""Files that are there whole or not at all: sha256, atomic writes, one process at a time."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

CHUNK = 1 << 18


def sha256_of(path: Path) -> str | None:
    """Of a file, links followed; None where there is none that can be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def write(target: Path, source: IO[bytes]) -> None:
    """Give a file new contents in one step: whoever reads it sees the old ones or the new.

    Raises:
        OSError: it cannot be written; the old contents stay.
    """
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            shutil.copyfileobj(source, file, CHUNK)
            flush(file)
        Path(temporary).replace(target)
    finally:
        Path(temporary).unlink(missing_ok=True)


def flush(file: IO[bytes]) -> None:
    """Onto the disk itself, so that a file never gets its name before its contents."""
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time; the system lets go where a process dies. The file stays."""
    with path.open("a+b") as file:
        if sys.platform == "win32":
            import msvcrt

            while True:
                try:
                    file.seek(0)
                    msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
                    break
                except OSError:
                    time.sleep(0.2)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def problem(error: OSError, folder: Path, variable: str = "FGGB_CACHE") -> str:
    """What went wrong in writing to a folder, and which variable names another one."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk of {folder} is full; free some space, or set {variable} to another disk"
    return (
        f"cannot write to {error.filename or folder} ({error.strerror or error}); set {variable} "
        "to a folder of yours"
    )

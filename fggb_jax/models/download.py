"""A file over HTTP: resumed after an interruption, checked by its sha256 before it has its name.

It is our own, over urllib: pooch checks the sha256 and replaces atomically, but after an
interruption it starts again from nothing, and it does not keep two processes apart.
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fggb_jax.models import disk

Progress = Callable[[int, int | None], None]

_ATTEMPTS = 4
_PAUSE = 0.5  # seconds before the second attempt, doubled before each further one
_TIMEOUT = 30.0  # seconds without a byte
_LIMIT = 4 << 30  # no face recognizer is larger; an endless answer must end


class Failure(Exception):
    """What went wrong, in words; trying again would not help."""


class _Interrupted(Failure):
    """What went wrong, in words; another attempt may go on."""


def download(address: str, target: Path, sha256: str, progress: Progress | None = None) -> None:
    """Download a file, unless it is there; a second process waits for the first one's.

    Args:
        address: an http or https URL; its fragment names the member of a zip archive.
        target: where the file goes. What has arrived of it is kept beside it, as `*.part`.
        sha256: of the file; nothing else ever gets the name `target`.
        progress: called with the bytes that are there and their total, or None if it is unknown.

    Raises:
        Failure: in words, what is wrong with the connection, the answer or the disk.
        OSError: the disk; `disk.problem` says what to do.

    Example:
        >>> download("https://host/pack.zip#face.onnx", folder / "face.onnx", sha256)
        ...                                                    # doctest: +SKIP
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with disk.locked(target.with_name(target.name + ".lock")):
        if disk.sha256_of(target) != sha256:  # else another process was quicker
            _download(address, target, sha256, progress)


def _download(address: str, target: Path, expected: str, progress: Progress | None) -> None:
    url, _, member = address.partition("#")
    part = target.with_name(target.name + ".part")
    resumed = part.is_file()
    if member or disk.sha256_of(part) != expected:  # else killed just before the end
        _transfer(url, part, progress)
    found = _seal(part, member, target, expected)
    if found != expected and resumed:  # what was kept was of another file: once more, from nothing
        _transfer(url, part, progress)
        found = _seal(part, member, target, expected)
    if found != expected:
        raise Failure(
            f"the file there has sha256 {found}, not {expected}: damaged, or changed since the "
            "card was written; it was removed"
        )


def _seal(part: Path, member: str, target: Path, expected: str) -> str | None:
    """Give the file its name if it is the right one, else remove it; returns its sha256."""
    if member:
        loose = target.with_name(target.name + ".member")
        try:
            _extract(part, member, loose)
            found = _name(loose, target, expected)
        finally:
            loose.unlink(missing_ok=True)
    else:
        found = _name(part, target, expected)
    part.unlink(missing_ok=True)
    return found


def _name(loose: Path, target: Path, expected: str) -> str | None:
    if (found := disk.sha256_of(loose)) == expected:
        os.replace(loose, target)  # noqa: PTH105, the call that promise 5 names
    return found


def _extract(archive: Path, member: str, out: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as package:
            found = [info for info in package.infolist() if Path(info.filename).name == member]
            if len(found) != 1 or found[0].file_size > _LIMIT:
                raise Failure(f"the archive there holds {len(found)} files {member} of fair size")
            _need_space(out.parent, found[0].file_size)
            with package.open(found[0]) as source, out.open("wb") as file:
                shutil.copyfileobj(source, file, disk.CHUNK)
                disk.flush(file)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error) as error:
        archive.unlink()
        raise Failure(f"what is there is no intact zip archive ({error})") from None


def _transfer(url: str, part: Path, progress: Progress | None) -> None:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _stream(url, part, progress)
        except _Interrupted as error:
            if attempt == _ATTEMPTS:
                raise Failure(
                    f"{error}, at {_ATTEMPTS} attempts; what arrived is kept, and the next call "
                    "goes on from there"
                ) from None
            time.sleep(_PAUSE * 2 ** (attempt - 1))


def _stream(url: str, part: Path, progress: Progress | None) -> None:
    start = part.stat().st_size if part.is_file() else 0
    response = _open(url, start, part)
    if response is None:  # nothing is missing
        return
    with response:
        start, total = _span(response, start, part)
        _need_space(part.parent, (total or start) - start)
        with part.open("ab" if start else "wb") as file:
            done = start
            while chunk := _read(response):
                file.write(chunk)
                done += len(chunk)
                if progress:
                    progress(done, total)
                if done > (total or _LIMIT):
                    raise Failure(f"more bytes arrived than a file of {total or _LIMIT:,} has")
            disk.flush(file)
    if total is not None and done < total:
        raise _Interrupted(f"the answer was truncated: {done:,} of {total:,} bytes")


def _open(url: str, start: int, part: Path) -> Any:
    headers = {"User-Agent": "fggb-jax", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    host = urllib.parse.urlsplit(url).netloc
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), None, _TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            return _refused(error, start, part)
    except urllib.error.URLError as error:
        raise Failure(f"no connection to {host} ({error.reason}); is there a network?") from None
    except (OSError, http.client.HTTPException) as error:
        raise _Interrupted(f"the connection to {host} broke ({error})") from None


def _refused(error: urllib.error.HTTPError, start: int, part: Path) -> None:
    status = f"HTTP status {error.code} ({error.reason})"
    if error.code == 416 and start:
        if error.headers.get("Content-Range") == f"bytes */{start}":
            return
        part.unlink()  # it is longer than the file
        raise _Interrupted(status)
    if error.code in (408, 429) or error.code >= 500:
        raise _Interrupted(status)
    why = {404: "the file is gone", 410: "the file is gone"}.get(error.code, "it refuses us")
    raise Failure(f"{status}: {why}; another source can be given with FGGB_SOURCE")


def _span(response: Any, start: int, part: Path) -> tuple[int, int | None]:
    """Where the answer's first byte belongs, and the length of the whole file."""
    length = response.headers.get("Content-Length")
    if not start or response.status != 206:
        return 0, int(length) if length and length.isdigit() else None
    found = re.match(r"bytes (\d+)-\d+/(\d+)$", response.headers.get("Content-Range", ""))
    if not found or int(found[1]) != start:
        part.unlink()
        raise _Interrupted("the server resumed at another byte than asked")
    return start, int(found[2])


def _read(response: Any) -> bytes:
    try:
        return response.read1(disk.CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _Interrupted(f"the connection broke ({error or type(error).__name__})") from None


def _need_space(folder: Path, size: int) -> None:
    if size > (free := shutil.disk_usage(folder).free):
        raise Failure(
            f"the disk is full: {size / 1e6:,.1f} MB are needed, {folder} has {free / 1e6:,.1f} MB "
            "free; free some, or set FGGB_CACHE to another disk"
        )

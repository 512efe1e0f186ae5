"""Weights by name: a local override, then the cache, then a download that is checked before use.

The downloader is our own, over urllib: pooch checks the sha256 and replaces atomically, but after
an interruption it starts again from nothing, and it does not keep two processes apart.

| variable | meaning |
| --- | --- |
| `FGGB_CACHE` | the folder of downloaded weights |
| `FGGB_CARDS` | the folder of the user's own cards and models |
| `FGGB_SOURCE` | where weights come from instead: a folder, or the URL of one (http, https or hf) |
| `FGGB_OFFLINE` | 1: no socket is opened |
| `FGGB_ACCEPT_LICENCE` | 1: the licences of the weights are accepted |
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import http.client
import importlib
import json
import os
import re
import shutil
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import IO, Any, NoReturn

from platformdirs import user_cache_path, user_data_path

from fggb_jax.errors import ModelError
from fggb_jax.models.card import Card

Progress = Callable[[int, int | None], None]

# Licences that ask nothing of who only uses the weights: shown, but not asked about.
_PERMISSIVE = frozenset({"CC0-1.0", "MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause"})
# Of cards whose source is said in words.
_ADDRESSES = {
    "sface": "https://media.githubusercontent.com/media/opencv/opencv_zoo/"
    "ba91a3b91d00d76e86540d4013f944bd6b514e39/models/face_recognition_sface/"
    "face_recognition_sface_2021dec.onnx",
}
_SUFFIXES = (".onnx", ".dat")
_ATTEMPTS = 4
_PAUSE = 0.5  # seconds before the second attempt, doubled before each further one
_TIMEOUT = 30.0  # seconds without a byte
_CHUNK = 1 << 18
_LIMIT = 4 << 30  # no face recognizer is larger; an endless answer must end


class _Failure(Exception):
    """What went wrong, in words; trying again would not help."""


class _Interrupted(_Failure):
    """What went wrong, in words; another attempt may go on."""


def fetch(
    card: Card,
    *,
    source: str | Path | None = None,
    offline: bool | None = None,
    cache: str | Path | None = None,
    progress: Progress | None = None,
    accept_licence: bool | None = None,
    confirm: Callable[[str], bool] | None = None,
) -> Path:
    """Find or download a card's file of weights; its sha256 is checked on every call.

    Args:
        card: whose weights; nothing is downloaded for one without a sha256.
        source: instead of the card's own source: a file, a folder that holds it under its own
            name or the card's, or the URL of one; the default is FGGB_SOURCE.
        offline: open no socket; the default is FGGB_OFFLINE.
        cache: the folder to keep downloads in; the default is `cache_folder()`.
        progress: called with the bytes that are there and their total, or None if it is unknown.
        accept_licence: the licence is accepted, and only shown; the default is
            FGGB_ACCEPT_LICENCE.
        confirm: is shown `licence_notice(card)` before a download and says whether to go on.
            Where it is not given, a permissive licence is shown on standard error, and any other
            must have been accepted.

    Returns:
        The path of the file.

    Raises:
        ModelError: the file cannot be had, is not the card's, or its licence is not accepted.

    Example:
        >>> import fggb_jax as fx
        >>> from fggb_jax.models import zoo
        >>> zoo.fetch(fx.cards()["sface"]).name                # doctest: +SKIP
        'sface-0ba9fbfa01b5.onnx'
    """
    override = str(source or os.environ.get("FGGB_SOURCE") or "") or None
    if (local := _local(card, override)) is not None:
        return _verified(local, card)
    if card.sha256 is None:
        raise ModelError(
            f"the card {card.name!r} has no sha256, so nothing is downloaded by that name; get the "
            f"weights from {card.source} (licence: {card.licence}), and give the file's path with "
            f"this card, or the folder that holds {_filename(card)} as FGGB_SOURCE"
        )
    target = cached_path(card, cache)
    if _sha256(target) == card.sha256:
        return target
    address = _address(card, override, target)
    is_hub = address.startswith("hf://")
    if is_hub and (found := _in_hub_cache(address)) is not None:
        return _verified(found, card)
    if offline if offline is not None else _flag("FGGB_OFFLINE"):
        _refuse_offline(card, target)
    _agree(card, accept_licence, confirm)
    if is_hub:
        return _verified(_from_hub(card, address), card)
    with _explained(card, address, target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target.with_name(target.name + ".lock")):
            if _sha256(target) != card.sha256:  # else another process was quicker
                _download(address, target, card.sha256, progress)
    return target


def cache_folder() -> Path:
    """Where downloaded weights are kept: FGGB_CACHE, else the platform's place for caches."""
    if folder := os.environ.get("FGGB_CACHE"):
        return Path(folder).expanduser()
    return user_cache_path("fggb_jax") / "models"


def cached_path(card: Card, cache: str | Path | None = None) -> Path:
    """Where a card's weights are kept once downloaded, or may be put by hand.

    Args:
        card: whose weights.
        cache: the folder; the default is `cache_folder()`.
    """
    folder = cache_folder() if cache is None else Path(cache).expanduser()
    stem = re.sub(r"[^\w.-]", "_", card.name)
    return folder / f"{stem}-{(card.sha256 or '')[:12]}{Path(_filename(card)).suffix}"


def is_cached(card: Card, cache: str | Path | None = None) -> bool:
    """Whether a card's weights lie in the cache; `fetch` checks what is in the file."""
    return card.sha256 is not None and cached_path(card, cache).is_file()


def needs_consent(card: Card) -> bool:
    """Whether the licence of the weights restricts their use, so that it is asked about."""
    return card.licence not in _PERMISSIVE


def licence_notice(card: Card) -> str:
    """What is shown before a card's weights are downloaded: licence, source, sha256."""
    lines = [
        f"{card.name}: the licence of the weights, as their authors state it: {card.licence}",
        f"  source: {card.source}",
        f"  sha256: {card.sha256}",
    ]
    if needs_consent(card):
        lines.append("  Go on only if your use is within that licence.")
    return "\n".join(lines)


def show_licence(notice: str) -> bool:
    """Write a licence notice to standard error and go on: a `confirm` for programs."""
    sys.stderr.write(notice + "\n")
    return True


def cards_folder() -> Path:
    """Where the user's own cards are kept: FGGB_CARDS, else the platform's place for data."""
    if folder := os.environ.get("FGGB_CARDS"):
        return Path(folder).expanduser()
    return user_data_path("fggb_jax") / "cards"


def user_cards(report: Callable[[str], None] | None = None) -> dict[str, Card]:
    """The user's own cards, by name.

    Args:
        report: called with one line for each card that is skipped because it cannot be read or
            its name is taken; the default warns.
    """
    report = report or (lambda text: warnings.warn(text, stacklevel=3))
    found: dict[str, Card] = {}
    for path in sorted(cards_folder().glob("*.toml")):
        try:
            card = Card.from_toml(path)
            if not isinstance(card.name, str) or not isinstance(card.sha256, str | None):
                raise ModelError(f"{path}: name and sha256 must be strings")
        except ModelError as error:
            report(f"the card {path.name} is skipped: {error}")
            continue
        if card.name in found or _ships(card.name):
            report(f"the card {path.name} is skipped: the name {card.name!r} is taken")
            continue
        found[card.name] = card
    return found


def add(
    path: str | Path,
    name: str | None = None,
    *,
    card: Card | None = None,
    copy: bool = True,
    replace: bool = False,
) -> Path:
    """Register a user's own model, so that its name is enough from then on.

    Args:
        path: of the .onnx or .dat file. One with external data is registered where it lies.
        name: what to call it; the default is the card's name.
        card: the preprocessing; the default is the .toml beside the file.
        copy: keep a copy of the file beside the card, else only where it lies.
        replace: an earlier card of that name is overwritten.

    Returns:
        The path of the new card, in `cards_folder()`.

    Raises:
        ModelError: no such file, no card, or a name that is taken or makes no file name.
    """
    path = Path(path).expanduser()
    if not path.is_file() or path.suffix not in _SUFFIXES:
        raise ModelError(f"{path} is no file of weights; give an .onnx or a .dat file")
    if card is None and not (beside := path.with_suffix(".toml")).is_file():
        raise ModelError(
            f"nothing says how the faces of {path} are prepared: lay a card beside it as {beside} "
            "(docs/cards.md shows one)"
        )
    card = card or Card.from_toml(path.with_suffix(".toml"))
    name = card.name if name is None else name
    toml = _free(name, replace)
    found = _sha256(path)
    if card.sha256 not in (None, found):
        raise ModelError(f"{path} has sha256 {found}; its card says {card.sha256}")
    entries: dict[str, Any] = {"name": name, "sha256": found}
    copied = copy and not _has_external_data(path)
    if not copied:
        entries["source"] = str(path.absolute())
    try:
        toml.parent.mkdir(parents=True, exist_ok=True)
        model = toml.with_name(name + path.suffix) if copied else None
        if model:
            with path.open("rb") as file:
                _write(model, file)
        for stale in (toml.with_name(name + suffix) for suffix in _SUFFIXES):
            if stale not in (model, path):
                stale.unlink(missing_ok=True)
        with tempfile.TemporaryFile() as file:
            file.write(_toml(dataclasses.replace(card, **entries)).encode())
            file.seek(0)
            _write(toml, file)
    except OSError as error:
        raise ModelError(f"{name!r} is not added: {_disk(error, toml.parent)}") from None
    return toml


# Where a file may lie already


def _local(card: Card, override: str | None) -> Path | None:
    if override is None or "://" in override:
        places = [cards_folder() / f"{card.name}{suffix}" for suffix in _SUFFIXES]
        if card.source.endswith(_SUFFIXES) and Path(card.source).is_absolute():
            places.append(Path(card.source))  # registered where it lies
        return next((path for path in places if path.is_file()), None)
    place = Path(override).expanduser()
    if place.is_file():
        return place
    if not place.is_dir():
        raise ModelError(
            f"the source {override!r} is neither a URL, a file nor a folder; correct or unset it "
            "(FGGB_SOURCE)"
        )
    return next((path for path in _candidates(card, place) if path.is_file()), None)


def _candidates(card: Card, folder: Path) -> list[Path]:
    name = _filename(card)
    names = (name, f"{card.name}{Path(name).suffix}", cached_path(card).name)
    return [folder / name for name in names]


def _address(card: Card, override: str | None, target: Path) -> str:
    """Where to download from: a URL, its fragment naming the member of an archive."""
    if override is None:
        if (own := _own_address(card)) is None:
            raise ModelError(
                f"{card.name!r} has no address to download from; get {_filename(card)} from "
                f"{card.source} (licence: {card.licence}) and give its path, or save it as {target}"
            )
        return own
    if "://" not in override:
        tried = ", ".join(path.name for path in _candidates(card, Path(override)))
        raise ModelError(
            f"the folder {override!r} holds none of {tried}; put {card.name!r} there or unset the "
            "source (FGGB_SOURCE)"
        )
    scheme = override.partition("://")[0]
    if scheme not in ("http", "https", "hf"):
        raise ModelError(f"the source {override!r} has scheme {scheme!r}; give http, https or hf")
    name = _filename(card)
    if scheme == "hf":
        path, at, revision = override.partition("@")
        return override if path.endswith(_SUFFIXES) else f"{path.rstrip('/')}/{name}{at}{revision}"
    if override.endswith(_SUFFIXES):
        return override
    return f"{override.rstrip('/')}/{urllib.parse.quote(name)}"


def _own_address(card: Card) -> str | None:
    address = _ADDRESSES.get(card.name, card.source)
    return address if re.fullmatch(r"(https?|hf)://\S+", address) else None


def _filename(card: Card) -> str:
    """The file's own name: `w600k_r50.onnx` of `https://…/buffalo_l.zip#w600k_r50.onnx`."""
    address = _own_address(card)
    if address is None:  # said in words, which may end with the name
        named = re.search(r"[\w.-]+\.(onnx|dat)$", card.source)
        return named[0] if named else f"{card.name}.onnx"
    path, _, member = address.partition("#")
    if address.startswith("hf://"):
        path = path.partition("@")[0]
    return member or urllib.parse.unquote(path.partition("?")[0].rsplit("/", 1)[-1])


def _verified(path: Path, card: Card) -> Path:
    if (found := _sha256(path)) is None:
        raise ModelError(f"{path} cannot be read; check its permissions")
    if card.sha256 not in (None, found):
        raise ModelError(
            f"{path} has sha256 {found}, but {card.name!r} is {card.sha256}: damaged or another "
            "version; replace the file"
        )
    return path


def _sha256(path: Path) -> str | None:
    """Of a file, links followed; None where there is none that can be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


# Before a download


def _flag(name: str) -> bool:
    return os.environ.get(name, "").lower() not in ("", "0", "false", "no")


def _refuse_offline(card: Card, target: Path) -> NoReturn:
    wrong = _sha256(target)
    state = f"the cached file has sha256 {wrong}" if wrong else "it is not in the cache"
    raise ModelError(
        f"{card.name!r} cannot be downloaded offline, and {state}: put {_filename(card)} "
        f"(sha256 {card.sha256}) at {target}, or unset FGGB_OFFLINE"
    )


def _agree(card: Card, accepted: bool | None, confirm: Callable[[str], bool] | None) -> None:
    accepted = _flag("FGGB_ACCEPT_LICENCE") if accepted is None else accepted
    if accepted or (confirm is None and not needs_consent(card)):
        confirm = show_licence
    if confirm is not None and confirm(licence_notice(card)):
        return
    raise ModelError(
        f"the licence of {card.name!r} is not accepted, so nothing is downloaded.\n"
        f"{licence_notice(card)}\nSay so with accept_licence=True or FGGB_ACCEPT_LICENCE=1"
    )


# Hugging Face


def _in_hub_cache(address: str) -> Path | None:
    """huggingface-hub keeps its own cache; no socket is opened for it."""
    where = _hub_place(address)
    try:
        hub = importlib.import_module("huggingface_hub")
        return Path(hub.hf_hub_download(**where, local_files_only=True))
    except Exception:  # not installed, or one of the many ways in which it is not there
        return None


def _from_hub(card: Card, address: str) -> Path:
    where = _hub_place(address)
    try:
        hub = importlib.import_module("huggingface_hub")
    except ImportError:
        raise ModelError(
            f"{address} needs the package huggingface-hub: pip install 'fggb-jax[hub]'"
        ) from None
    try:
        return Path(hub.hf_hub_download(**where))
    except Exception as error:  # it raises many kinds, of three libraries
        raise ModelError(f"{card.name!r} could not be fetched from {address}: {error}") from None


def _hub_place(address: str) -> dict[str, str | None]:
    """Take hf://owner/repo/path@revision apart."""
    path, _, revision = address.removeprefix("hf://").partition("@")
    parts = path.split("/", 2)
    if len(parts) != 3 or not all(parts):
        raise ModelError(f"{address!r} is no file on the hub; give hf://owner/repo/path@revision")
    repository, filename = "/".join(parts[:2]), parts[2]
    return {"repo_id": repository, "filename": filename, "revision": revision or None}


# The download


def _download(address: str, target: Path, expected: str, progress: Progress | None) -> None:
    url, _, member = address.partition("#")
    part = target.with_name(target.name + ".part")
    resumed = part.is_file()
    if member or _sha256(part) != expected:  # else killed just before the end
        _transfer(url, part, progress)
    found = _seal(part, member, target, expected)
    if found != expected and resumed:  # what was kept was of another file: once more, from nothing
        _transfer(url, part, progress)
        found = _seal(part, member, target, expected)
    if found != expected:
        raise _Failure(
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
    if (found := _sha256(loose)) == expected:
        os.replace(loose, target)  # noqa: PTH105, the call that promise 5 names
    return found


def _extract(archive: Path, member: str, out: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as package:
            found = [info for info in package.infolist() if Path(info.filename).name == member]
            if len(found) != 1 or found[0].file_size > _LIMIT:
                raise _Failure(f"the archive there holds {len(found)} files {member} of fair size")
            _need_space(out.parent, found[0].file_size)
            with package.open(found[0]) as source, out.open("wb") as file:
                shutil.copyfileobj(source, file, _CHUNK)
                _flush(file)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error) as error:
        archive.unlink()
        raise _Failure(f"what is there is no intact zip archive ({error})") from None


def _transfer(url: str, part: Path, progress: Progress | None) -> None:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _stream(url, part, progress)
        except _Interrupted as error:
            if attempt == _ATTEMPTS:
                raise _Failure(
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
                    raise _Failure(f"more bytes arrived than a file of {total or _LIMIT:,} has")
            _flush(file)
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
        raise _Failure(f"no connection to {host} ({error.reason}); is there a network?") from None
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
    raise _Failure(f"{status}: {why}; another source can be given with FGGB_SOURCE")


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
        return response.read1(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _Interrupted(f"the connection broke ({error or type(error).__name__})") from None


# Files


def _need_space(folder: Path, size: int) -> None:
    if size > (free := shutil.disk_usage(folder).free):
        raise _Failure(
            f"the disk is full: {size / 1e6:,.1f} MB are needed, {folder} has {free / 1e6:,.1f} MB "
            "free; free some, or set FGGB_CACHE to another disk"
        )


def _disk(error: OSError, folder: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk of {folder} is full; free some space, or set FGGB_CACHE to another disk"
    return (
        f"cannot write to {error.filename or folder} ({error.strerror or error}); set FGGB_CACHE "
        "to a folder of yours"
    )


def _flush(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def _explained(card: Card, address: str, target: Path) -> Iterator[None]:
    """Whatever goes wrong in a download → one ModelError that says what to do."""
    try:
        yield
    except (_Failure, OSError) as error:
        problem = _disk(error, target.parent) if isinstance(error, OSError) else error
        raise ModelError(
            f"{card.name!r} could not be fetched from {address}: {problem}. "
            f"Or save {_filename(card)}, got by other means, as {target}"
        ) from None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
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


def _write(target: Path, source: IO[bytes]) -> None:
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            shutil.copyfileobj(source, file, _CHUNK)
            _flush(file)
        Path(temporary).replace(target)
    finally:
        Path(temporary).unlink(missing_ok=True)


# The user's own cards


def _ships(name: str) -> bool:
    return (files("fggb_jax") / "models" / "cards" / f"{name}.toml").is_file()


def _free(name: str, replace: bool) -> Path:
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,63}", name, re.ASCII):
        raise ModelError(f"the name {name!r} makes no file name; use letters, digits, - and _")
    if _ships(name):
        raise ModelError(f"the name {name!r} belongs to a card of the package; choose another")
    toml = cards_folder() / f"{name}.toml"
    if toml.exists() and not replace:
        raise ModelError(f"there is a card {toml} already; choose another name, or replace=True")
    return toml


def _has_external_data(path: Path) -> bool:
    if path.suffix != ".onnx":
        return False
    import onnx
    from google.protobuf.message import DecodeError
    from onnx.external_data_helper import uses_external_data

    try:
        proto = onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise ModelError(f"{path} is no ONNX file ({error})") from None
    return any(uses_external_data(tensor) for tensor in proto.graph.initializer)


def _toml(card: Card) -> str:
    entries = {key: value for key, value in card.to_dict().items() if value is not None}
    return "".join(f"{key} = {_toml_value(value)}\n" for key, value in entries.items())


def _toml_value(value: Any) -> str:
    # JSON writes strings, numbers and lists as TOML does, DEL excepted.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")

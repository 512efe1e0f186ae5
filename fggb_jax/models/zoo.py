"""Weights by name: a local override, then the cache, then a download that is checked before use.

| variable | meaning |
| --- | --- |
| `FGGB_CACHE` | the folder of downloaded weights |
| `FGGB_CARDS` | the folder of the user's own cards, models and calibrated thresholds |
| `FGGB_SOURCE` | where weights come from instead: a folder, or the URL of one (http, https or hf) |
| `FGGB_OFFLINE` | 1: no socket is opened |
| `FGGB_ACCEPT_LICENCE` | 1: the licences of the weights are accepted |
"""

from __future__ import annotations

import importlib
import os
import re
import sys
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, Protocol

from platformdirs import user_cache_path

from fggb_jax.errors import ModelError
from fggb_jax.models import disk
from fggb_jax.models.download import Failure, Progress, download
from fggb_jax.models.user_cards import SUFFIXES, cards_folder

# Licences that ask nothing of who only uses the weights: shown, but not asked about.
_PERMISSIVE = frozenset({"CC0-1.0", "MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause"})


class Weights(Protocol):
    """What a card says of its file of weights, whatever network the card is of."""

    @property
    def name(self) -> str:
        """What users type."""
        ...

    @property
    def source(self) -> str:
        """Where the file can be had: a URL that is downloaded from, or words for people."""
        ...

    @property
    def sha256(self) -> str | None:
        """Of the file, or None for any file."""
        ...

    @property
    def licence(self) -> str:
        """Of the weights, as their authors state it."""
        ...


def fetch(
    card: Weights,
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
    if disk.sha256_of(target) == card.sha256:
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
        download(address, target, card.sha256, progress)
    return target


def cache_folder() -> Path:
    """Where downloaded weights are kept: FGGB_CACHE, else the platform's place for caches."""
    if folder := os.environ.get("FGGB_CACHE"):
        return Path(folder).expanduser()
    return user_cache_path("fggb_jax") / "models"


def cached_path(card: Weights, cache: str | Path | None = None) -> Path:
    """Where a card's weights are kept once downloaded, or may be put by hand.

    Args:
        card: whose weights.
        cache: the folder; the default is `cache_folder()`.
    """
    folder = cache_folder() if cache is None else Path(cache).expanduser()
    stem = re.sub(r"[^\w.-]", "_", card.name)
    return folder / f"{stem}-{(card.sha256 or '')[:12]}{Path(_filename(card)).suffix}"


def is_cached(card: Weights, cache: str | Path | None = None) -> bool:
    """Whether a card's weights lie in the cache; `fetch` checks what is in the file."""
    return card.sha256 is not None and cached_path(card, cache).is_file()


def find(card: Weights, beside: Path | None = None) -> Path | None:
    """A card's weights where they lie here already, their sha256 as it should be; else None.

    Args:
        card: whose weights.
        beside: a further folder to look in.
    """
    folders = [folder for folder in (os.environ.get("FGGB_SOURCE"), beside) if folder]
    places = [cached_path(card)]
    for folder in folders:
        if "://" not in str(folder):
            places += _candidates(card, Path(folder).expanduser())
    return next((p for p in places if disk.sha256_of(p) == card.sha256 is not None), None)


def needs_consent(card: Weights) -> bool:
    """Whether the licence of the weights restricts their use, so that it is asked about."""
    return card.licence not in _PERMISSIVE


def licence_notice(card: Weights) -> str:
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


# Where a file may lie already


def _local(card: Weights, override: str | None) -> Path | None:
    if override is None or "://" in override:
        places = [cards_folder() / f"{card.name}{suffix}" for suffix in SUFFIXES]
        if card.source.endswith(SUFFIXES) and Path(card.source).is_absolute():
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


def _candidates(card: Weights, folder: Path) -> list[Path]:
    name = _filename(card)
    names = (name, f"{card.name}{Path(name).suffix}", cached_path(card).name)
    return [folder / name for name in names]


def _address(card: Weights, override: str | None, target: Path) -> str:
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
        return override if path.endswith(SUFFIXES) else f"{path.rstrip('/')}/{name}{at}{revision}"
    if override.endswith(SUFFIXES):
        return override
    return f"{override.rstrip('/')}/{urllib.parse.quote(name)}"


def _own_address(card: Weights) -> str | None:
    return card.source if re.fullmatch(r"(https?|hf)://\S+", card.source) else None


def _filename(card: Weights) -> str:
    """The file's own name: `w600k_r50.onnx` of `https://…/buffalo_l.zip#w600k_r50.onnx`."""
    address = _own_address(card)
    if address is None:  # said in words, which may end with the name
        named = re.search(r"[\w.-]+\.(onnx|dat)$", card.source)
        return named[0] if named else f"{card.name}.onnx"
    path, _, member = address.partition("#")
    if address.startswith("hf://"):
        path = path.partition("@")[0]
    return member or urllib.parse.unquote(path.partition("?")[0].rsplit("/", 1)[-1])


def _verified(path: Path, card: Weights) -> Path:
    if (found := disk.sha256_of(path)) is None:
        raise ModelError(f"{path} cannot be read; check its permissions")
    if card.sha256 not in (None, found):
        raise ModelError(
            f"{path} has sha256 {found}, but {card.name!r} is {card.sha256}: damaged or another "
            "version; replace the file"
        )
    return path


# Around a download


def _flag(name: str) -> bool:
    return os.environ.get(name, "").lower() not in ("", "0", "false", "no")


def _refuse_offline(card: Weights, target: Path) -> NoReturn:
    wrong = disk.sha256_of(target)
    state = f"the cached file has sha256 {wrong}" if wrong else "it is not in the cache"
    raise ModelError(
        f"{card.name!r} cannot be downloaded offline, and {state}: put {_filename(card)} "
        f"(sha256 {card.sha256}) at {target}, or unset FGGB_OFFLINE"
    )


def _agree(card: Weights, accepted: bool | None, confirm: Callable[[str], bool] | None) -> None:
    accepted = _flag("FGGB_ACCEPT_LICENCE") if accepted is None else accepted
    if accepted or (confirm is None and not needs_consent(card)):
        confirm = show_licence
    if confirm is not None and confirm(licence_notice(card)):
        return
    raise ModelError(
        f"the licence of {card.name!r} is not accepted, so nothing is downloaded.\n"
        f"{licence_notice(card)}\nSay so with accept_licence=True or FGGB_ACCEPT_LICENCE=1"
    )


@contextmanager
def _explained(card: Weights, address: str, target: Path) -> Iterator[None]:
    """Whatever goes wrong in a download → one ModelError that says what to do."""
    try:
        yield
    except (Failure, OSError) as error:
        problem = disk.problem(error, target.parent) if isinstance(error, OSError) else error
        raise ModelError(
            f"{card.name!r} could not be fetched from {address}: {problem}. "
            f"Or save {_filename(card)}, got by other means, as {target}"
        ) from None


# Hugging Face


def _in_hub_cache(address: str) -> Path | None:
    """huggingface-hub keeps its own cache; no socket is opened for it."""
    where = _hub_place(address)
    try:
        hub = importlib.import_module("huggingface_hub")
        return Path(hub.hf_hub_download(**where, local_files_only=True))
    except Exception:  # not installed, or one of the many ways in which it is not there
        return None


def _from_hub(card: Weights, address: str) -> Path:
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

"""The user's own cards and models: known by name once they are added."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import warnings
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from platformdirs import user_data_path

from fggb_jax.errors import ModelError
from fggb_jax.models import disk
from fggb_jax.models.card import Card

SUFFIXES = (".onnx", ".dat")


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
    card = _preprocessing(path, card)
    name = card.name if name is None else name
    toml = _free(name, replace)
    found = disk.sha256_of(path)
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
                disk.write(model, file)
        for stale in (toml.with_name(name + suffix) for suffix in SUFFIXES):
            if stale not in (model, path):
                stale.unlink(missing_ok=True)
        write_toml(toml, dataclasses.replace(card, **entries).to_dict())
    except OSError as error:
        reason = disk.problem(error, toml.parent, "FGGB_CARDS")
        raise ModelError(f"{name!r} is not added: {reason}") from None
    return toml


def write_toml(path: Path, entries: dict[str, Any]) -> None:
    """Write plain values as TOML, in one step; an entry that is None is left out.

    Raises:
        OSError: the file cannot be written.
    """
    given = {key: value for key, value in entries.items() if value is not None}
    text = "".join(f"{key} = {_toml_value(value)}\n" for key, value in given.items())
    disk.write(path, io.BytesIO(text.encode()))


def _toml_value(value: Any) -> str:
    # JSON writes strings, numbers and lists as TOML does, DEL excepted.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _preprocessing(path: Path, card: Card | None) -> Card:
    """The card that is given for a file of weights, else the one beside it."""
    if not path.is_file() or path.suffix not in SUFFIXES:
        raise ModelError(f"{path} is no file of weights; give an .onnx or a .dat file")
    if card is not None:
        return card
    if not (beside := path.with_suffix(".toml")).is_file():
        raise ModelError(
            f"nothing says how the faces of {path} are prepared: lay a card beside it as {beside} "
            "(docs/cards.md shows one)"
        )
    return Card.from_toml(beside)


def _ships(name: str) -> bool:
    """Whether a model's or a detector's card of the package has the name."""
    package = files("fggb_jax")
    return any((package / of / "cards" / f"{name}.toml").is_file() for of in ("models", "faces"))


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

"""`fggb models`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.markup import escape
from rich.table import Table

from fggb_jax.cli.console import note, notes, progress, results
from fggb_jax.cli.options import (
    DEFAULT_MODEL,
    AlignedOption,
    DetectorOption,
    FaceOption,
    JsonOption,
)
from fggb_jax.cli.photographs import read, to_face_of
from fggb_jax.cli.recognizer import beside, load
from fggb_jax.errors import ImageError, ModelError
from fggb_jax.faces.detector_card import DetectorCard, detector_cards

if TYPE_CHECKING:
    from fggb_jax.models.card import Card

app = typer.Typer(help="The models that are known, their licences and where to get them.")


@app.callback(invoke_without_command=True)
def models(context: typer.Context) -> None:
    """List the models, where no subcommand is given."""
    if context.invoked_subcommand is None:
        list_models()


@app.command("list", epilog="Example:  fggb models list")
def list_models(as_json: JsonOption = False) -> None:
    """List the models and the detectors that a card is known for."""
    from fggb_jax.models import zoo

    known = _cards()
    entries = [_entries(card) for card in known.values()]
    detectors = detector_cards().values()
    if as_json:
        results.print_json(json.dumps(entries + [asdict(card) for card in detectors]))
        return
    table = Table("name", "face", "channels", "threshold", "here", "licence", box=None)
    for card, values in zip(known.values(), entries, strict=True):
        size = f"{card.size[0]}×{card.size[1]} {card.color}"
        threshold = "–" if values["threshold"] is None else f"{values['threshold']:g}"
        threshold += ", calibrated here" if values["calibrated_here"] else ""
        here = "package" if card.name == DEFAULT_MODEL else "cache" if zoo.is_cached(card) else "–"
        row = (card.name, size, card.dimension, threshold, here, card.licence)
        table.add_row(*(escape(str(cell)) for cell in row))
    for card in detectors:
        here = "cache" if zoo.is_cached(card) else "–"
        table.add_row(card.name, "detector", "–", "–", here, escape(card.licence))
    results.print(table)


@app.command("show", epilog="Example:  fggb models show dlib-resnet-v1")
def show_model(
    name: Annotated[str, typer.Argument(help="A name of `fggb models list`.")],
    as_json: JsonOption = False,
) -> None:
    """Show one model's card, with the threshold and the norms in use."""
    from fggb_jax.report.words import plain

    card = _card(name)
    values = asdict(card) if isinstance(card, DetectorCard) else _entries(card)
    if as_json:
        results.print_json(json.dumps(values))
        return
    table = Table(box=None, show_header=False)
    for key, value in values.items():
        table.add_row(key, escape(plain(value)))
    results.print(table)


@app.command("get", epilog="Example:  fggb models get sface")
def get_model(
    name: Annotated[str, typer.Argument(help="A name of `fggb models list`.")],
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Accept the licence that is shown.")
    ] = False,
    source: Annotated[
        str | None, typer.Option(help="A folder, file or URL to take it from instead.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Open no connection.")] = False,
) -> None:
    """Fetch a model's weights into the cache, after showing their licence."""
    from fggb_jax.models import zoo
    from fggb_jax.models.load import dlib_weights

    card = _card(name)
    if name == DEFAULT_MODEL:
        results.print(escape(str(dlib_weights())))
        return
    ask = (lambda notice: typer.confirm(f"{notice}\nAccept?", err=True)) if _asks() else None
    with progress("bytes") as report:
        path = zoo.fetch(
            card,
            source=source,
            offline=offline or None,
            progress=report,
            accept_licence=accept_licence or None,
            confirm=ask,
        )
    results.print(escape(str(path)))


@app.command("add", epilog="Example:  fggb models add face.onnx --name mine")
def add_model(
    path: Annotated[Path, typer.Argument(help="An .onnx file with its card, a .toml, beside it.")],
    name: Annotated[str | None, typer.Option(help="What to call it.")] = None,
) -> None:
    """Make a model of your own known by name."""
    from fggb_jax.models import user_cards

    results.print(escape(str(user_cards.add(path, name))))


@app.command("norms", epilog="Example:  fggb models norms dlib-resnet-v1 faces/")
def measure_norms(
    model: Annotated[str, typer.Argument(help="A name of `fggb models`, or an .onnx file.")],
    images: Annotated[list[Path], typer.Argument(help="Photographs of faces, or folders of them.")],
    count: Annotated[
        int, typer.Option(min=1, help="At most so many images, spread over those given.")
    ] = 32,
    aligned: AlignedOption = False,
    face: FaceOption = "center",
    detector: DetectorOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure the norms of a model's channels, and store them for `--norms calibrated` and `top`.

    A few dozen photographs of different people are enough. One that fails is left out and named;
    the exit status is 1 then.
    """
    from fggb_jax.attribution.calibrate import calibrate_norms
    from fggb_jax.data.image_files import image_files
    from fggb_jax.models import calibration

    found = image_files(images)
    chosen = [found[i * len(found) // count] for i in range(count)] if len(found) > count else found
    loaded = load(model)
    to_face, faces = to_face_of(loaded, aligned, detector, face, beside(model))
    chips, failed = [], 0
    for path in chosen:
        try:
            chips.append(to_face(read(path), str(path)))
        except ImageError as error:
            failed += 1
            note(f"{path}: {error}")
    if not chips:
        raise ImageError(f"none of {len(chosen)} images has a face that can be used")
    source = f"mean over {len(chips)} images; {faces}"
    with progress("faces") as report:
        calibrated = calibrate_norms(loaded, np.stack(chips), progress=report)
    norms = calibrated.card.norms
    assert norms is not None  # that is what was measured
    assert loaded.sha256 is not None  # load_model knows it of every model
    path = calibration.store_norms(loaded.sha256, norms, source, model=loaded.card.name)
    if as_json:
        stored = {
            "model": loaded.card.name,
            "images": len(chips),
            "norms": norms,
            "file": str(path),
        }
        results.print_json(json.dumps(stored))
    else:
        results.print(
            f"{len(norms)} norms, {min(norms):g} to {max(norms):g}, mean over {len(chips)} images"
        )
    note(
        f"the norms are stored in {path}: `--norms calibrated` uses them for {loaded.card.name} "
        "from now on; delete the file to undo that"
    )
    if failed:
        raise typer.Exit(1)


def _cards() -> dict[str, Card]:
    """All cards; what is wrong with a user's own one is noted."""
    from fggb_jax.models.load import cards
    from fggb_jax.models.user_cards import user_cards

    return {**cards(), **user_cards(report=note)}


def _weights() -> dict[str, Card | DetectorCard]:
    """The cards of models and of detectors."""
    return {**detector_cards(), **_cards()}


def _card(name: str) -> Card | DetectorCard:
    if name not in (known := _weights()):
        raise ModelError(f"no card {name!r}; known are {', '.join(known)}")
    return known[name]


def _entries(card: Card) -> dict[str, Any]:
    """A card with threshold and norms in use, and the files of those that were measured here."""
    from fggb_jax.models import calibration

    try:
        used = calibration.calibrated(card, card.sha256)
    except ModelError as error:
        note(str(error))
        used = card
    here = {}
    for key, file_of in (
        ("calibrated_here", calibration.file_of),
        ("norms_here", calibration.norms_file_of),
    ):
        there = used is not card and card.sha256 and file_of(card.sha256).is_file()
        here[key] = str(file_of(card.sha256)) if card.sha256 and there else None
    return {**used.to_dict(), **here}


def _asks() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty() and notes.is_terminal

"""The command line. Heavy imports happen inside commands, so that --help is quick."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from fggb_jax.errors import FggbError, ImageError, ModelError, OptionError

if TYPE_CHECKING:
    from fggb_jax.explanation import Explanation
    from fggb_jax.models.face_model import FaceModel

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Explain why a face-verification model takes two faces for the same person, or not.",
)
models_app = typer.Typer(help="The models that are known, their licences and where to get them.")
app.add_typer(models_app, name="models")

notes = Console(stderr=True, highlight=False, soft_wrap=True)
results = Console(highlight=False, soft_wrap=True)

MethodOption = Annotated[str, typer.Option(help="The attribution method.")]
ThresholdOption = Annotated[
    str, typer.Option(help="The cosine from which a pair is accepted; auto takes the card's.")
]
GradientOption = Annotated[
    str | None, typer.Option(help="FGGB: magnitude (the default) or signed.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@app.command(epilog="Example:  fggb demo --out demo")
def demo(
    out: Annotated[Path, typer.Option(help="The folder to write to.")] = Path("fggb-demo"),
    as_json: JsonOption = False,
) -> None:
    """Explain the sample portraits with the default model: one genuine pair, one impostor pair."""
    from fggb_jax.data import samples
    from fggb_jax.models.load import load_model

    _use_compilation_cache()
    model = load_model()
    printed = []
    # The genuine pair's files lie in the folder itself, the impostor's in one of its own.
    for title, names, folder in (
        ("same person", ("obama_a", "obama_b"), out),
        ("another person", ("obama_a", "biden"), out / "impostor"),
    ):
        probe, gallery = (samples.chip(name, model.card) for name in names)
        explanation = _explain(model, probe, gallery, "fggb", "auto", {}, title)
        _write(explanation, folder)
        printed.append({"pair": title, "folder": str(folder), **explanation.to_dict()})
        if not as_json:
            _print(explanation, folder, title)
    if as_json:
        results.print_json(json.dumps(printed))


@app.command(epilog="Example:  fggb explain probe.png gallery.png --aligned --out pair")
def explain(
    probe: Annotated[Path, typer.Argument(help="The face that is asked about.")],
    gallery: Annotated[Path, typer.Argument(help="The face that it is compared with.")],
    model: Annotated[
        str, typer.Option(help="A name of `fggb models`, or the path of an .onnx file.")
    ] = "dlib-resnet-v1",
    method: MethodOption = "fggb",
    threshold: ThresholdOption = "auto",
    gradient: GradientOption = None,
    aligned: Annotated[
        bool, typer.Option("--aligned", help="The images are aligned faces already.")
    ] = False,
    out: Annotated[Path, typer.Option(help="The folder to write to.")] = Path("fggb-out"),
    as_json: JsonOption = False,
) -> None:
    """Explain one pair: result.json, maps.npz, figure.png and report.html."""
    from fggb_jax.models.load import load_model

    if not aligned:
        raise OptionError(
            "faces are not found in photographs yet: give faces that are aligned for the model, "
            "and say so with --aligned"
        )
    value = threshold if threshold == "auto" else _number(threshold)
    # Whatever is cheap to refuse is refused before a model is loaded.
    faces = [_read(path) for path in (probe, gallery)]
    _use_compilation_cache()
    loaded = load_model(model)
    fitted = [_fit(face, path, loaded) for face, path in zip(faces, (probe, gallery), strict=True)]
    if (fitted[0] == fitted[1]).all():
        raise ImageError(
            f"{probe} and {gallery} are the same image: there is nothing to compare; give two "
            "photographs"
        )
    options = {} if gradient is None else {"gradient": gradient}
    explanation = _explain(loaded, fitted[0], fitted[1], method, value, options, probe.name)
    _write(explanation, out)
    if as_json:
        results.print_json(json.dumps(explanation.to_dict()))
    else:
        _print(explanation, out, f"{probe.name}, {gallery.name}")


@models_app.callback(invoke_without_command=True)
def models(context: typer.Context) -> None:
    """List the models, where no subcommand is given."""
    if context.invoked_subcommand is None:
        list_models()


@models_app.command("list", epilog="Example:  fggb models list")
def list_models(as_json: JsonOption = False) -> None:
    """List the models that a card is known for."""
    from fggb_jax.models.load import cards

    if as_json:
        results.print_json(json.dumps([card.to_dict() for card in cards().values()]))
        return
    table = Table("name", "face", "channels", "threshold", "licence", "source", box=None)
    for card in cards().values():
        size = f"{card.size[0]}×{card.size[1]} {card.color}"
        row = (card.name, size, card.dimension, card.threshold, card.licence, card.source)
        table.add_row(*(escape(str(cell)) for cell in row))
    results.print(table)


@models_app.command("show", epilog="Example:  fggb models show dlib-resnet-v1")
def show_model(
    name: Annotated[str, typer.Argument(help="A name of `fggb models list`.")],
    as_json: JsonOption = False,
) -> None:
    """Show one model's card."""
    from fggb_jax.models.load import cards

    if name not in cards():
        raise ModelError(f"no card {name!r}; known are {', '.join(cards())}")
    values = cards()[name].to_dict()
    if as_json:
        results.print_json(json.dumps(values))
        return
    table = Table(box=None, show_header=False)
    for key, value in values.items():
        table.add_row(key, escape(str(value)))
    results.print(table)


def main() -> None:
    """Run the command line: status 0 where all went well, 2 for wrong usage, 1 otherwise."""
    try:
        app()
    except FggbError as error:
        notes.print(f"[bold red]error:[/] {escape(str(error))}")
        sys.exit(2 if isinstance(error, OptionError) else 1)
    except OSError as error:
        notes.print(f"[bold red]error:[/] {escape(str(error))}")
        sys.exit(1)


def _number(text: str) -> float:
    from fggb_jax.explanation import check_threshold

    return check_threshold(text)


def _read(path: Path) -> Any:
    from fggb_jax.data.images import read_image

    return read_image(path, note=_note)


def _fit(face: Any, path: Path, model: FaceModel) -> Any:
    from fggb_jax.data.images import resize_aligned

    height, width = model.card.size
    fitted = resize_aligned(face, model.card.size, str(path))
    if fitted is not face:
        _note(f"{path}: resized from {face.shape[1]}×{face.shape[0]} to {width}×{height}")
    return fitted


def _note(text: str) -> None:
    notes.print(f"[yellow]note:[/] {escape(text)}")


def _explain(
    model: FaceModel,
    probe: Any,
    gallery: Any,
    method: str,
    threshold: float | str,
    options: dict[str, Any],
    title: str,
) -> Explanation:
    from fggb_jax.explain import explain as explain_pair

    with _progress(title) as report:
        return explain_pair(model, probe, gallery, method, threshold, progress=report, **options)


@contextmanager
def _progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, nothing in a pipe."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=notes, transient=True, disable=not notes.is_terminal)
    with bar:
        task = bar.add_task(f"{escape(title)}: channels", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _write(explanation: Explanation, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        result = json.dumps(explanation.to_dict(), indent=2, ensure_ascii=False)
        (folder / "result.json").write_text(result + "\n", "utf-8")
        explanation.save(folder / "maps.npz")
        explanation.to_html(folder / "report.html")
        explanation.figure().savefig(folder / "figure.png", dpi=150)
    except OSError as error:
        raise FggbError(f"cannot write to {folder}: {error.strerror or error}") from None


def _print(explanation: Explanation, folder: Path, title: str) -> None:
    accepted = explanation.decision == "accept"
    color, sign = ("green", "≥") if accepted else ("red", "<")
    results.print(
        f"[bold {color}]{explanation.decision}[/]  {escape(title)}: cosine "
        f"{explanation.cosine:.4f} {sign} threshold {explanation.threshold:g}"
    )
    results.print(f"  [dim]threshold: {escape(explanation.provenance['threshold_source'])}[/]")
    for name in ("figure.png", "report.html", "maps.npz", "result.json"):
        results.print(f"  {escape(str(folder / name))}")


def _use_compilation_cache() -> None:
    """Keep compiled programs between runs: the second one starts at once."""
    import jax
    from platformdirs import user_cache_path

    folder = user_cache_path("fggb_jax") / "xla"
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)

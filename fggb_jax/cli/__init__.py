"""The command line: a file a command. Heavy imports happen inside commands: --help is quick."""

from __future__ import annotations

import sys

import typer
from rich.markup import escape

from fggb_jax.cli import evaluate, explain, models, verify
from fggb_jax.cli.console import notes
from fggb_jax.errors import FggbError, OptionError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Explain why a face-verification model takes two faces for the same person, or not.",
)
for command, example in (
    (explain.demo, "fggb demo --out demo"),
    (explain.explain, "fggb explain probe.jpg gallery.jpg --out pair"),
    (verify.verify, "fggb verify pairs.csv --model face.onnx --json"),
    (evaluate.evaluate, "fggb evaluate pairs.csv --methods fggb,occlusion,centre --out table"),
):
    app.command(epilog=f"Example:  {example}")(command)
app.add_typer(models.app, name="models")


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

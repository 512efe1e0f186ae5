"""The command line: inspect a model, compare it with onnxruntime, list the operators."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from onnx2jax.errors import OnnxError


def main(arguments: list[str] | None = None) -> None:
    """Run the command line: status 0 where all went well, 2 for wrong usage, 1 otherwise."""
    options = _parser().parse_args(arguments)
    try:
        sys.exit(options.run(options))
    except OnnxError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="onnx2jax", description="ONNX models as pure JAX functions."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run, text, takes_model in (
        ("inspect", _inspect, "inputs, outputs, operators and parameters of a model", True),
        ("check", _check, "compare a model with onnxruntime, node by node", True),
        ("ops", _ops, "the operators and versions that are supported", False),
        ("convert", _convert, "write a model that loads without onnx", True),
    ):
        words = {"ops": "ops", "convert": "convert face.onnx face/ --stablehlo"}
        example = f"Example:  onnx2jax {words.get(name, f'{name} face.onnx')}"
        command = commands.add_parser(name, help=text, description=text, epilog=example)
        command.set_defaults(run=run)
        if takes_model:
            command.add_argument("model", help="the path of an .onnx file")
        command.add_argument("--json", action="store_true", help="print JSON")
        if name == "ops":
            command.add_argument("--markdown", action="store_true", help="print a table")
        if name == "convert":
            command.add_argument("directory", help="where to write; made where it does not exist")
            text = "write StableHLO for cpu, cuda and tpu too, at the file's shapes, batch 1"
            command.add_argument("--stablehlo", action="store_true", help=text)
    return parser


def _inspect(options: argparse.Namespace) -> int:
    from onnx2jax.inspect import summary
    from onnx2jax.model import load

    _show(summary(load(options.model)), options.json)
    return 0


def _convert(options: argparse.Namespace) -> int:
    from onnx2jax.export import export
    from onnx2jax.inspect import example_shapes
    from onnx2jax.model import load
    from onnx2jax.saved import save

    model = load(options.model)
    directory = save(model, options.directory)
    if options.stablehlo:
        program = export(model, *example_shapes(model))
        (directory / "model.stablehlo").write_bytes(program.serialize())
    files = {path.name: path.stat().st_size for path in sorted(directory.iterdir())}
    _show({"directory": str(directory), "bytes": files}, options.json)
    return 0


def _check(options: argparse.Namespace) -> int:
    from onnx2jax.check import check

    report = check(options.model)
    if options.json:
        _show(vars(report), as_json=True)
    else:
        print(report)  # noqa: T201
    return 0 if report.divergence is None else 1


def _ops(options: argparse.Namespace) -> int:
    from onnx2jax.registry import table, versions

    if options.markdown:
        print(table())  # noqa: T201
    else:
        named = {f"{domain}.{name}".lstrip("."): v for (domain, name), v in versions().items()}
        _show(named, options.json)
    return 0


def _show(values: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(values, indent=1))  # noqa: T201
        return
    for key, value in values.items():
        shown = (
            ", ".join(f"{k} {v}" for k, v in value.items())
            if isinstance(value, dict)
            else (", ".join(map(str, value)) if isinstance(value, list) else value)
        )
        print(f"{key:<12} {shown}")  # noqa: T201

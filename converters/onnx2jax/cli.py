"""The command line: inspect a model, compare it with onnxruntime, list the operators."""

from __future__ import annotations

import argparse
import collections
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
    ):
        example = f"Example:  onnx2jax {name}{' face.onnx' if takes_model else ''}"
        command = commands.add_parser(name, help=text, description=text, epilog=example)
        command.set_defaults(run=run)
        if takes_model:
            command.add_argument("model", help="the path of an .onnx file")
        command.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _inspect(options: argparse.Namespace) -> int:
    from onnx2jax.model import load

    model = load(options.model)
    counts = collections.Counter(node.op for node in model.graph.walk())
    _show(
        {
            "inputs": {s.name: f"{s.dtype}{list(s.shape or ())}" for s in model.inputs},
            "outputs": {s.name: f"{s.dtype}{list(s.shape or ())}" for s in model.outputs},
            "opsets": {domain or "ai.onnx": v for domain, v in model.graph.opsets.items()},
            "operators": dict(counts.most_common()),
            "parameters": sum(value.size for value in model.params.values()),
            "stages": len(model.stages),
        },
        options.json,
    )
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
    import onnx2jax

    versions: dict[str, list[int]] = {}
    for operator in onnx2jax.operators():
        name = f"{operator.domain + '.' if operator.domain else ''}{operator.name}"
        versions.setdefault(name, []).append(operator.since)
    _show(versions, options.json)
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

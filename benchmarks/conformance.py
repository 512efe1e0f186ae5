"""ONNX's official backend suite: how many cases pass, how many inside jit, and why the rest do not.

    python benchmarks/conformance.py            # about ten minutes on two cores

It runs `conformance.py`, the tool beside the shared data, on `onnx2jax.backend`, and writes every
case that does not pass, or passes outside jit alone, with its reason.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from common import shared_data, table, write

TOOL = shared_data().parent / "tools" / "conformance.py"


def run(jobs: int, include: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The tool's summary, and a row a case."""
    with tempfile.TemporaryDirectory() as folder:
        details = Path(folder) / "cases.jsonl"
        command = [sys.executable, str(TOOL), "onnx2jax.backend", "--jobs", str(jobs)]
        command += ["--details", str(details), "--include", include]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows = [json.loads(line) for line in details.read_text("utf-8").splitlines()]
    return json.loads(done.stdout), sorted(rows, key=lambda row: row["name"])


# What the suite asks for that nothing can give.
EXPLAINED = {
    r"test_bernoulli|test_training_dropout": "expects the numbers that NumPy's generator draws",
    r"test_loop16_seq_none": "the suite's runner cannot compare an array without dimensions that "
    "lies in a sequence",
}


def reason(row: dict[str, Any]) -> str:
    """Why a case does not pass, in a cell of a table."""
    known = (text for name, text in EXPLAINED.items() if re.search(name, row["name"]))
    return next(known, re.sub(r"\s+", " ", row["why"]).replace("|", "/")[:160])


def render(summary: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """The counts by kind, and the cases that do not pass."""
    jitted = Counter(row["kind"] for row in rows if is_jitted(row))
    counts = [
        (kind, f"{c['passed']:,}", f"{jitted[kind]:,}", f"{c['total']:,}")
        for kind, c in summary["by_kind"].items()
    ]
    total = ("all", f"{summary['passed']:,}", f"{sum(jitted.values()):,}", f"{summary['total']:,}")
    failed = [(r["name"], r["verdict"], reason(r)) for r in rows if r["verdict"] != "passed"]
    return "\n".join(
        [
            table(("kind", "passed", "of them in jit", "cases"), [*counts, total]),
            "",
            table(("case", "verdict", "reason"), failed),
            "",
            "Passed outside jit alone: "
            + ", ".join(r["name"] for r in rows if r["verdict"] == "passed" and not is_jitted(r)),
        ]
    )


def is_jitted(row: dict[str, Any]) -> bool:
    return row["verdict"] == "passed" and bool(row["tags"].get("jit"))


def main() -> None:
    """Run the suite, write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes (2)")
    parser.add_argument("--include", default="", help="only names that match this expression")
    options = parser.parse_args()
    if not TOOL.is_file():
        raise SystemExit(f"no such file: {TOOL}; it lies beside the shared data")
    summary, rows = run(options.jobs, options.include)
    kept = [
        {k: row[k] for k in ("name", "kind", "verdict", "why", "tags")}
        for row in rows
        if not is_jitted(row)
    ]
    write("conformance", {"summary": summary, "cases": kept}, render(summary, rows))


if __name__ == "__main__":
    main()

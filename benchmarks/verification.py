"""What `fggb verify` says of LFW View 1's unaligned photographs, model by model.

    python benchmarks/verification.py           # about 6 minutes on two idle cores

Each row is the command line itself, in a process of its own, with no thresholds of one's own.
"""

import json
import os
import subprocess
import sys
import tempfile
from typing import Any

from common import MODELS, in_reach, model_file, shared_data, table, write

# The first is what `auto` takes where YuNet is here; dlib's 68 points are what it falls back on.
WAYS = {"dlib-resnet-v1": ("auto",), "mobilefacenet": ("yunet", "dlib"), "sface": ("yunet", "dlib")}


def verified(model: str, detector: str) -> dict[str, Any]:
    """What the command prints as JSON; a dropped pair makes its status 1, which is no failure."""
    pairs = shared_data() / "lfw" / "pairs.csv"
    command = [sys.executable, "-c", "from fggb_jax.cli import main; main()", "verify", str(pairs)]
    command += ["--json", "--model", str(model_file(model)), "--detector", detector]
    with tempfile.TemporaryDirectory() as empty:
        around = {**os.environ, "FGGB_CARDS": empty, "FGGB_SOURCE": str(shared_data() / "models")}
        run = subprocess.run(command, env=around, capture_output=True, text=True, check=False)
    if run.returncode not in (0, 1) or not run.stdout:
        raise SystemExit(run.stderr)
    return {**json.loads(run.stdout), "detector": detector}


def render(rows: list[dict[str, Any]]) -> str:
    """A row a model and detector; the intervals are 95 %."""
    header = ("model", "--detector", "EER", "95 % interval", "AUC", "threshold", "dropped")
    cells = []
    for row in rows:
        low, high = (f"{100 * bound:.1f}" for bound in row["intervals"]["eer"])
        cells.append(
            (
                *(row["model"], row["detector"], f"{100 * row['eer']:.2f} %", f"{low}–{high} %"),
                *(f"{row['auc']:.5f}", f"{row['threshold']:.4f}"),
                f"{row['dropped']} of {row['pairs']:,}",
            )
        )
    return table(header, cells)


def main() -> None:
    """Verify by every model in reach."""
    rows = [verified(model, way) for model in in_reach(MODELS) for way in WAYS[model]]
    for row in rows:  # it names the folder of this machine
        del row["threshold_source"]
    write("verification", {"rows": rows}, render(rows))


if __name__ == "__main__":
    main()

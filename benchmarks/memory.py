"""The memory that FGGB of a pair takes: the peak of a whole process, for several budgets.

    python benchmarks/memory.py                 # about 5 minutes on two idle cores
    python benchmarks/memory.py --models iresnet-50 --whole

Each row is a process of its own that loads the network from an ONNX file, compiles, and explains:
its peak is the largest resident set that the system counted, imports, weights and compilation
included. Channels after the first few are timed; by default the process stops after a part of them,
since the peak is reached long before; --whole goes through all channels of both images.

A budget (`memory=`) bounds what the engine holds and computes at once; it comes on top of the
imports, the weights and the compiler. With a small one Winograd's kernels are left out and one
thread works in place of two: that is the cost in time.
"""

import argparse
import contextlib
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from built import BUILT, card
from common import MODELS, in_reach, model_file, table, write

MEBI = 1 << 20
NAMES = (*MODELS, "mobilefacenet-512", "iresnet-18", "iresnet-50")
BUDGETS = (None, 256)  # MiB; None is the default
CHANNELS = 96  # of 2 N, unless --whole
LIMITS = {None: 1.3, 256: 1.0}  # GiB, of IResNet-50


class Enough(Exception):
    """The channels that were asked for are done."""


def measure(pipe: Any, name: str, path: Path, budget: int | None, channels: int | None) -> None:
    """One process: its peak in bytes, and milliseconds a channel."""
    import fggb_jax as fx

    model = fx.load_model(path, card=card(name) if name in BUILT else None)
    loaded = peak()
    pair = np.random.default_rng(0).random((2, *model.card.size, 3), dtype=np.float32)
    seen = []

    def progress(done: int, total: int) -> None:
        seen.append((done, time.perf_counter()))
        if channels is not None and done >= min(channels, total):
            raise Enough

    memory = None if budget is None else budget * MEBI
    with contextlib.suppress(Enough):
        fx.explain(model, *pair, threshold=0.3, memory=memory, progress=progress)
    # The first chunk compiles.
    (first, start), (last, end) = seen[0], seen[-1]
    pipe.send({"loaded": loaded, "peak": peak(), "seconds": (end - start) / (last - first)})


def peak() -> int:
    """The largest resident set of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.is_file():  # where getrusage also counts the process that this one came from
        (line,) = (x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def in_process(*arguments: Any) -> dict[str, Any]:
    """`measure` in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=measure, args=(theirs, *arguments))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        raise SystemExit(f"the process of {arguments[0]} died") from None
    finally:
        process.join()


def main() -> None:
    """Measure every model with every budget, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=NAMES, choices=NAMES)
    parser.add_argument("--whole", action="store_true", help="all channels of both images")
    arguments = parser.parse_args()
    channels = None if arguments.whole else CHANNELS
    real = in_reach([name for name in arguments.models if name in MODELS])
    rows = []
    for name in (n for n in arguments.models if n in BUILT or n in real):
        with tempfile.TemporaryDirectory() as folder:
            path = model_file(name) if name in MODELS else Path(folder) / f"{name}.onnx"
            if name in BUILT:
                path.write_bytes(BUILT[name]().SerializeToString())
            for budget in BUDGETS:
                found = in_process(name, path, budget, channels)
                rows.append({"model": name, "budget_mib": budget, **found})
                print(name, budget, {k: round(v, 4) for k, v in found.items()}, flush=True)
    write("memory", {"channels": channels, "rows": rows}, as_table(rows))
    failed = [
        row
        for row in rows
        if row["model"] == "iresnet-50" and row["peak"] >= LIMITS[row["budget_mib"]] * 1024 * MEBI
    ]
    if failed:
        raise SystemExit(f"above the limits of GiB, {LIMITS}: {failed}")


def as_table(rows: list[dict[str, Any]]) -> str:
    """Peak and time of each model and budget."""
    default = {row["model"]: row["seconds"] for row in rows if row["budget_mib"] is None}
    return table(
        (
            "model",
            "budget, MiB",
            "loaded, MiB",
            "peak, MiB",
            "ms a channel",
            "time to the default's",
        ),
        [
            (
                row["model"],
                row["budget_mib"] or "default (1,024)",
                round(row["loaded"] / MEBI),
                round(row["peak"] / MEBI),
                f"{row['seconds'] * 1e3:.1f}",
                f"{row['seconds'] / default[row['model']]:.2f}×" if row["model"] in default else "",
            )
            for row in rows
        ],
    )


if __name__ == "__main__":
    main()

"""FGGB on a GPU beside PyTorch, in the same precision: one command, less than ten minutes.

    python benchmarks/gpu.py                   # on one GPU; JAX and PyTorch each with CUDA
    python benchmarks/gpu.py --small           # the same at tiny size on a CPU: does it work?

The job is a batch of images, each with the embedding that it is compared with: forward, all N
channels, P and Q. A case is a network, a precision, a batch and a chunk of channels; within a case
all ways take turns, each side in a process of its own, and a figure is the median of the rounds.

Ours: `scan`, one program that loops over the chunks; `driven`, a Python loop over one compiled
step; `pairs`, fx.explain_pairs as users call it, the images two by two, its chunk planned by
itself. PyTorch's, its network folded, cuDNN choosing its algorithms: `vmap`, torch.func.vmap of a
vjp; `batched`, is_grads_batched, both also in channels_last (nhwc); `compiled`, torch.compile of
the former.

Precisions: `float32` (highest), `tf32`, `bfloat16` (PyTorch: network and gradients; ours: gradients
alone, behind a forward pass in float32; maps in float32). 1 − cos of each way's maps is to ours in
float32, for `pairs` of Q alone. The rate is that of a large matrix product in the same precision,
by the library that is faster at it; memory is JAX's by its compiler's plan, PyTorch's by its own
count. Cases that time does not reach are left out, and what is known is written after each.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

# Both sides use one GPU: neither may take all of its memory beforehand.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import floor
from common import elapsed, table, write
from gpu_ways import PRECISIONS, Case, Work, loaded, ours, ours_matmul, theirs, torch_matmul
from power import energy
from sides import Side

MINUTES = 9.0
ROUNDS = 3
LONGEST = 120.0  # seconds for a way to compile, warm up and run once
GATE = 1e-3  # 1 − cosine in float32; activations of random networks flip
Ways = dict[str, tuple[str, ...]]
WAYS: Ways = {"ours": ("scan", "pairs"), "torch": ("vmap", "vmap nhwc")}  # of every case
OTHERS: Ways = {"ours": ("driven",), "torch": ("batched", "batched nhwc", "compiled")}
OURS = (*WAYS["ours"], *OTHERS["ours"])


def cases(small: bool) -> Iterator[tuple[Case, Ways]]:
    """What matters most comes first; a model's first case is in float32, for the parity."""
    if small:
        for precision in PRECISIONS:
            yield Case("tiny", precision, 2, 4), WAYS
            yield Case("tiny", precision, 2, 4), OTHERS | {"torch": OTHERS["torch"][:-1]}
        return
    models = "iresnet-50", "mobilefacenet-512", "iresnet-100"
    for model in models[:2]:
        yield Case(model, "float32", 8, 32), WAYS
        yield Case(model, "bfloat16", 8, 128), WAYS
        yield Case(model, "tf32", 8, 128), WAYS
    yield Case(models[2], "bfloat16", 8, 128), WAYS
    for model in models[:2]:
        yield Case(model, "bfloat16", 8, 128), OTHERS
    for batch, chunk in ((8, 32), (32, 32)):
        for model in models[:2]:
            yield Case(model, "bfloat16", batch, chunk), WAYS
    for precision in ("float32", "tf32"):
        yield Case(models[2], precision, 8, 32), WAYS


# A process for each side


def serve(pipe: Any, side: str) -> None:
    """Obey ("device",), ("rate", precision, size), ("ready", case, way), ("run", way) and so on."""
    make, matmul = {"ours": (ours, ours_matmul), "torch": (theirs, torch_matmul)}[side]
    work: dict[str, Work] = {}
    while (order := pipe.recv())[0] != "stop":
        kind, *arguments = order
        try:
            if kind == "clear":
                work.clear()
                answer = None
            elif kind == "device":
                answer = _device(side)
            elif kind == "rate":
                precision, size = arguments
                answer = floor.rate(matmul(precision, size), size)
            elif kind == "ready":
                case, way = arguments
                work[way] = make(case, way)
                answer = {"maps": work[way].run(), "compile_s": work[way].compile_s}
            elif kind == "run":
                answer = elapsed(work[arguments[0]].run)
            else:
                one = work[arguments[0]]
                answer = {"memory_bytes": one.memory(), "energy_j": energy(one.run)}
        except (
            Exception
        ) as error:  # out of memory, or what a library cannot do: a line of the table
            answer = f"{type(error).__name__}: {error}"[:300]
        pipe.send(answer)


def _device(side: str) -> str:
    if side == "ours":
        import jax

        return f"{jax.default_backend()}: {jax.devices()[0].device_kind}"
    import torch

    return f"cuda: {torch.cuda.get_device_name()}" if torch.cuda.is_available() else "cpu"


# The measurement


class Clock:
    """The time that is left."""

    def __init__(self, minutes: float) -> None:
        self.end = time.monotonic() + 60 * minutes

    @property
    def left(self) -> float:
        return self.end - time.monotonic()


def measure(case: Case, sides: dict[str, Side], clock: Clock, ways: Ways) -> Any:
    """All ways of a case: what each took, or why it did not run; and its maps."""
    found: dict[str, Any] = {}
    maps: dict[str, Any] = {}
    at = {way: sides[side] for side, names in ways.items() for way in names}
    for side in sides.values():
        side.ask("clear")
    for way, side in at.items():
        answer = asked(side, clock, "ready", case, way)
        if isinstance(answer, str):
            found[way] = {"failed": answer}
            if answer.startswith(REPLACED):  # a new process knows nothing of the ways before
                for before in (w for w in maps if at[w] is side):
                    asked(side, clock, "ready", case, before)
        else:
            maps[way] = answer.pop("maps")
            found[way] = {**answer, "runs_s": []}
    for _ in range(ROUNDS):
        for way, side in at.items():
            if "failed" in found[way]:
                continue
            seconds = asked(side, clock, "run", way)
            if isinstance(seconds, str):
                found[way] = {"failed": seconds}
            else:
                found[way]["runs_s"].append(seconds)
    for way, side in at.items():
        if "failed" not in found[way]:
            more = asked(side, clock, "more", way)
            found[way] |= {"seconds": statistics.median(found[way]["runs_s"])}
            found[way] |= more if isinstance(more, dict) else {"note": more}
    return found, maps


REPLACED = "TimeoutError", "EOFError"


def asked(side: Side, clock: Clock, *order: Any) -> Any:
    """The answer, or why there is none; a process that hangs or dies is replaced."""
    if clock.left <= 0:
        return "no time left"
    try:
        return side.ask(*order, seconds=min(LONGEST, clock.left))
    except (TimeoutError, EOFError) as error:
        return f"{type(error).__name__}: {error}"


@cache
def flops(name: str) -> float:
    """Operations of one image's channels: the products of N forward passes."""
    return floor.flops(loaded(name))


def one_minus_cosine(u: np.ndarray, v: np.ndarray) -> float:
    """The worst of all images' P and Q."""
    both = min(u.shape[1], v.shape[1])  # Q is the last
    flat = [x[:, -both:].reshape(-1, *x.shape[2:]) for x in (u, v)]
    pairs = zip(*flat, strict=True)
    unit = lambda x: x.astype(np.float64) / np.linalg.norm(x.astype(np.float64))  # noqa: E731
    return max(0.5 * float(np.sum((unit(a) - unit(b)) ** 2)) for a, b in pairs)


def finish(case: Case, found: Any, maps: Any, exact: Any, rates: Any, operations: float) -> None:
    """What the numbers of a case mean."""
    for way, row in found.items():
        row |= {**case._asdict(), "way": way, "side": "ours" if way in OURS else "torch"}
        if "seconds" not in row:
            continue
        if exact is not None:
            n = min(len(exact), len(maps[way]))
            row["one_minus_cosine"] = one_minus_cosine(maps[way][:n], exact[:n])
        measured = [side[case.precision] for side in rates.values()]
        if fastest := max((r for r in measured if isinstance(r, float)), default=None):
            row["rate_fraction"] = operations * case.batch / row["seconds"] / fastest


def render(rows: list[dict[str, Any]], rates: Any, notes: list[str]) -> str:
    """A line a way, and what is best."""
    header = (
        *("model", "precision", "batch", "chunk", "way", "ms an image", "÷ ours", "of the rate"),
        *("GiB", "J an image", "1 − cos", "compiled"),
    )
    lines = []
    for row in rows:
        case = row["model"], row["precision"], row["batch"], row["chunk"]
        name = f"{'ours' if row['side'] == 'ours' else 'PyTorch'} {row['way']}"
        if "seconds" not in row:
            lines.append((*case, name, row["failed"][:60], *[""] * 6))
            continue
        ours = [
            r["seconds"]
            for r in rows
            if r["side"] == "ours" and "seconds" in r and tuple(r[k] for k in Case._fields) == case
        ]
        memory, joules = row.get("memory_bytes"), row.get("energy_j")
        lines.append(
            (
                *(*case, name, f"{1e3 * row['seconds'] / row['batch']:.2f}"),
                f"{row['seconds'] / min(ours):.2f}" if ours and row["side"] == "torch" else "",
                f"{100 * row['rate_fraction']:.0f} %" if "rate_fraction" in row else "",
                f"{memory / 2**30:.2f}" if memory else "",
                f"{joules / row['batch']:.1f}" if joules else "",
                f"{row['one_minus_cosine']:.0e}" if "one_minus_cosine" in row else "",
                f"{row['compile_s']:.0f} s" if row["side"] == "ours" else "",
            )
        )
    measured = [
        f"{side} {precision} {rate / 1e12:.1f} TFLOP/s"
        for side, found in rates.items()
        for precision, rate in found.items()
        if isinstance(rate, float)
    ]
    products = "Matrix products: " + ", ".join(measured)
    return "\n\n".join(filter(None, [table(header, lines), summary(rows), products, *notes]))


def summary(rows: list[dict[str, Any]]) -> str:
    """The best of each side over all batches and chunks."""
    header = (
        *("model", "precision", "ours, images a second", "of the rate", "PyTorch's best"),
        *("ratio", "target"),
    )
    lines = []
    for case in dict.fromkeys((row["model"], row["precision"]) for row in rows):
        best: dict[str, Any] = {}
        for row in rows:
            if (row["model"], row["precision"]) == case and "seconds" in row:
                before = best.setdefault(row["side"], row)
                best[row["side"]] = max(before, row, key=images_a_second)
        if len(best) == 2:
            ours, torch = map(images_a_second, (best["ours"], best["torch"]))
            share = f"{100 * best['ours'].get('rate_fraction', 0):.0f} %"
            target = "≥ 1.5×, ≥ 50 %"
            lines.append(
                (*case, f"{ours:.2f}", share, f"{torch:.2f}", f"{ours / torch:.2f}×", target)
            )
    return table(header, lines) if lines else ""


def images_a_second(row: dict[str, Any]) -> float:
    return row["batch"] / row["seconds"]


def main() -> int:
    """Measure all cases that time allows; 1 where float32 maps disagree, or a side has none."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="tiny networks, on a CPU")
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"in all ({MINUTES})")
    options = parser.parse_args()
    if options.small:
        os.environ |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    clock = Clock(options.minutes)
    sides = {name: Side(serve, name) for name in WAYS}
    devices = {name: side.ask("device") for name, side in sides.items()}
    if not options.small and not all("cuda" in d or "gpu" in d for d in devices.values()):
        raise SystemExit(f"both sides need a GPU; they have {devices}. --small runs on a CPU")
    size = 256 if options.small else 8192
    rates: dict[str, Any] = {
        name: {precision: asked(side, clock, "rate", precision, size) for precision in PRECISIONS}
        for name, side in sides.items()
    }
    rows: list[dict[str, Any]] = []
    exact: dict[str, Any] = {}
    left_out = 0
    for case, ways in cases(options.small):
        if clock.left <= 0:
            left_out += 1
            continue
        found, maps = measure(case, sides, clock, ways)
        if case.precision == "float32":
            exact.setdefault(case.model, maps.get("scan"))
        finish(case, found, maps, exact.get(case.model), rates, flops(case.model))
        # What the end of the time cut short has not failed.
        rows += [row for row in found.values() if "seconds" in row or clock.left > 0]
        notes = [f"Devices: {devices}."]
        record = {"devices": devices, "rates": rates, "rows": rows}
        write("gpu-small" if options.small else "gpu", record, render(rows, rates, notes))
    for side in sides.values():
        side.stop()
    if left_out:
        print(f"{left_out} cases were left out: no time")
    done = [row for row in rows if "seconds" in row]
    agree = [r["one_minus_cosine"] <= GATE for r in done if r["precision"] == "float32"]
    return int(not agree or not all(agree) or {r["side"] for r in done} != set(WAYS))


if __name__ == "__main__":
    sys.exit(main())

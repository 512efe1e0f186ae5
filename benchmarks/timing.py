"""FGGB of a pair: ours against PyTorch's ways on the same ONNX weights, interleaved.

    python benchmarks/timing.py                 # about half an hour on two idle cores
    python benchmarks/timing.py --models dlib-resnet-v1 --repeats 5

Each side lives in a process of its own, warmed up, and only one of them works at a time: A B A B …
The other one blocks on a pipe; its CPU time meanwhile is measured and reported, since idle OpenMP
threads may spin. A figure is the median of the repeats; compilation is given apart. The maps of
both sides are compared in the same run: a fast wrong map is worth nothing.

Ours: `explain` (fx.explain), `embed` (one image), and `bfloat16`, explain with that precision,
which is timed where the processor multiplies such numbers; elsewhere it is run once, for its error.
PyTorch's, all in float32, whose gradients its bfloat16 spoils: those of `torch_ways.py`, its
network folded. All of them are screened over the first channels of a pair; those that come near the
fastest are measured whole, and the faster of these is the one to beat: both images, forward, all
channels, accumulation.

Networks: the real ones in reach, and those of `built.py`, whose weights are random. Rounding flips
activations of these now and then, which changes a gradient for good, in PyTorch as here, so they
have a gate of their own, on the cosine of each map.

`of the rate`: what the products of N forward passes an image would take at the rate of a large
matrix product of the same precision, by the library that is faster at it. No plain multiplication
passes 100 %, which bounds the ratio; Winograd's convolutions multiply less.

An idle machine is needed: `busy` is the share of the wall time, over both cores, that other
processes took.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import floor
import numpy as np
from built import BUILT, card
from common import MODELS, cpu_fields, in_reach, model_file, model_proto, table, write
from gpu_ways import ours_matmul, torch_matmul
from sides import Side

PAUSE = 0.3  # seconds for the other side's threads to fall asleep
OURS = ("explain", "bfloat16", "embed")
PRECISIONS = {"explain": "float32", "bfloat16": "bfloat16"}
SCREENED = 32  # channels
NEAR = 1.1  # times the fastest way's time: what is screened so is measured whole
GATE_COSINE, GATE_L2 = 1e-6, 1e-3
GATE_BUILT = 1e-3  # 1 − cosine
GATE_BFLOAT16 = 1e-4  # likewise, to our maps in float32
# PyTorch's time over ours, from which the engine is good enough.
TARGETS = {
    "explain": {"mobilefacenet-512": 2.6, "iresnet-18": 1.6, "iresnet-50": 1.5},
    "bfloat16": {"iresnet-50": 2.3},
}
SIZE = 2048  # of the product whose rate is measured
Work = Callable[..., Any]


# The two sides' work, by name


def network(name: str) -> tuple[Any, Any]:
    """A model's ONNX and its card."""
    import fggb_jax as fx

    if name in BUILT:
        return BUILT[name](), card(name)
    return model_proto(model_file(name)), fx.cards()[name]


def faces(name: str) -> list[np.ndarray]:
    """A genuine pair."""
    from fggb_jax.data import samples

    return [samples.chip(n, network(name)[1]) for n in ("obama_a", "obama_b")]


def ours_work(name: str) -> dict[str, Work]:
    """Our variants."""
    import fggb_jax as fx

    proto, its_card = network(name)
    model, images = fx.load_model(proto, card=its_card), faces(name)
    return {
        "explain": partial(_explain, fx.explain, model, images),
        "embed": lambda: np.asarray(model.embed(images[0][None])),
        "bfloat16": partial(_explain, fx.explain, model, images, precision="bfloat16"),
        "flops": partial(floor.flops, model),
    }


def _explain(explain: Any, model: Any, images: list[np.ndarray], **options: Any) -> np.ndarray:
    e = explain(model, *images, method="fggb", **options)
    return np.stack([e.probe.p, e.probe.q, e.gallery.p, e.gallery.q])


def torch_work(name: str) -> dict[str, Work]:
    """PyTorch's ways, which take the number of channels."""
    import torch_ways

    proto, its_card = network(name)
    return torch_ways.ways(proto, its_card.to_dict(), faces(name))


# A process for each side


def worker(pipe: Any, side: str) -> None:
    """Obey ("load", model), ("run", variant, argument …), ("rate", precision) and so on."""
    work: dict[str, Work] = {}
    while (order := pipe.recv())[0] != "stop":
        if order[0] == "load":
            work = (ours_work if side == "ours" else torch_work)(order[1])
            pipe.send(list(work))
        elif order[0] == "run":
            pipe.send(timed(partial(work[order[1]], *order[2:])))
        elif order[0] == "rate":
            product = {"ours": ours_matmul, "torch": torch_matmul}[side]
            pipe.send(floor.rate(product(order[1], SIZE), SIZE))
        else:
            pipe.send(time.process_time())


def timed(work: Work) -> dict[str, Any]:
    """Wall and CPU seconds of the work, what others took meanwhile, and its result."""
    wall, cpu, everyone = time.perf_counter(), time.process_time(), busy_seconds()
    result = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    others = max(busy_seconds() - everyone - cpu, 0) / (wall * (os.cpu_count() or 1))
    return {"wall": wall, "cpu": cpu, "others": others, "result": result}


def busy_seconds() -> float:
    """CPU seconds that all processes of the machine used so far; 0 where /proc is absent."""
    try:
        line = Path("/proc/stat").read_text("ascii").splitlines()[0]
    except OSError:
        return 0.0
    user, nice, system, _, _, irq, softirq, steal = map(int, line.split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


# The measurement


def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for it, as far as the system says."""
    fields = cpu_fields()
    flags = f"{fields.get('flags', '')} {fields.get('Features', '')}".split()  # of x86, of Arm
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(flags)


def measure(
    name: str, ours: Side, theirs: Side, repeats: int, timed: Sequence[str]
) -> dict[str, Any]:
    """One model: PyTorch's ways screened, the near ones and ours interleaved."""
    variants = ours.ask("load", name)
    warm = {variant: ours.ask("run", variant) for variant in variants}
    maps = {"explain": warm["explain"]["result"]}
    screened = screen(theirs, theirs.ask("load", name))
    near = [way for way, wall in screened.items() if wall <= NEAR * min(screened.values())]
    runs: dict[str, list[Any]] = {}
    spin = 0.0
    for _ in range(repeats):
        for side, other, variant in turns(ours, theirs, timed, near):
            time.sleep(PAUSE)
            before = other.ask("cpu")
            run = side.ask("run", variant, *([None] if side is theirs else []))
            spin = max(spin, other.ask("cpu") - before)
            maps[variant] = run.pop("result")
            runs.setdefault(variant, []).append(run)
    medians = {v: {k: statistics.median(r[k] for r in rs) for k in rs[0]} for v, rs in runs.items()}
    channels = network(name)[1].dimension
    return {
        "channels": channels,
        "flops": warm["flops"]["result"],
        "targets": {kind: by_model.get(name) for kind, by_model in TARGETS.items()},
        "medians": medians,
        "runs": runs,
        "first_call_s": warm["explain"]["wall"],
        "screened_s_per_pair": {way: wall * channels for way, wall in screened.items()},
        "idle_side_cpu_s": spin,
        "bfloat16": errors(maps["explain"], warm["bfloat16"]["result"]),
        "parity": {way: errors(maps["explain"], maps[way]) for way in near},
        "gates": gates(name),
        "gate_bfloat16": GATE_BFLOAT16,
    }


def screen(theirs: Side, ways: list[str]) -> dict[str, float]:
    """Seconds that each way takes for one channel of both images; the ways' maps must agree."""
    found, maps = {}, {}
    for way in ways:
        theirs.ask("run", way, SCREENED // 2)  # warms up
        run = theirs.ask("run", way, SCREENED)
        found[way], maps[way] = run["wall"] / SCREENED, run["result"]
        error = errors(maps[ways[0]], maps[way])["one_minus_cosine"]
        if error > GATE_BUILT:
            raise SystemExit(f"PyTorch's way {way} gives other maps: 1 − cos is {error:.0e}")
    return found


def turns(ours: Side, theirs: Side, variants: Sequence[str], ways: Sequence[str]) -> Any:
    """(who works, who waits, at what), one side after the other."""
    for i in range(max(len(variants), len(ways))):
        yield from ((ours, theirs, variant) for variant in variants[i : i + 1])
        yield from ((theirs, ours, way) for way in ways[i : i + 1])


def errors(ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """Worst 1 − cosine and relative L2 of the four maps."""
    cosine, l2 = [], []
    for u, v in zip(ours.astype(np.float64), theirs.astype(np.float64), strict=True):
        cosine.append(0.5 * np.sum((u / np.linalg.norm(u) - v / np.linalg.norm(v)) ** 2))
        l2.append(np.linalg.norm(u - v) / np.linalg.norm(v))
    return {"one_minus_cosine": float(max(cosine)), "relative_l2": float(max(l2))}


def gates(name: str) -> dict[str, float]:
    """What the errors of a model's maps may be."""
    if name in BUILT:
        return {"one_minus_cosine": GATE_BUILT}
    return {"one_minus_cosine": GATE_COSINE, "relative_l2": GATE_L2}


def agree(model: dict[str, Any]) -> bool:
    """Whether all maps are within their gates."""
    gates = model["gates"].items()
    exact = all(error[kind] <= gate for error in model["parity"].values() for kind, gate in gates)
    return exact and model["bfloat16"]["one_minus_cosine"] <= model["gate_bfloat16"]


def render(models: dict[str, Any], rates: dict[str, float]) -> str:
    """A line a variant; ratios are times over ours in float32, more than 1 where that is faster."""
    header = (
        *("model", "variant", "s per pair", "ms per channel", "CPU s"),
        *("ratio to ours", "target", "of the rate", "1 − cos, L2", "busy"),
    )
    rows, notes = [], []
    for name, m in models.items():
        ours, medians = m["medians"]["explain"]["wall"], m["medians"]
        errors = {**m["parity"], "bfloat16": m["bfloat16"]}
        ways = sorted(m["parity"], key=lambda way: medians[way]["wall"])
        for variant in (*(v for v in PRECISIONS if v in medians), *ways):
            r, e = medians[variant], errors.get(variant)
            target = m["targets"]["explain"] if variant == ways[0] else None
            rate = rates[PRECISIONS.get(variant, "float32")]
            rows.append(
                (
                    name,
                    f"ours {variant}" if variant in PRECISIONS else f"PyTorch {variant}",
                    f"{r['wall']:.2f}",
                    f"{1e3 * r['wall'] / (2 * m['channels']):.2f}",
                    f"{r['cpu']:.2f}",
                    f"{r['wall'] / ours:.2f}" if variant != "explain" else "",
                    f"≥ {target}" if target else "",
                    f"{100 * 2 * m['flops'] / r['wall'] / rate:.0f} %",
                    f"{e['one_minus_cosine']:.0e}, {e['relative_l2']:.0e}" if e else "",
                    f"{100 * r['others']:.0f} %",
                )
            )
        others = {way: s for way, s in m["screened_s_per_pair"].items() if way not in ways}
        for way, s in sorted(others.items(), key=lambda pair: pair[1]):
            each = 1e3 * s / (2 * m["channels"])
            rows.append((name, f"PyTorch {way}", f"~{s:.2f}", f"~{each:.2f}", *[""] * 6))
        notes.append(
            f"{name}: one embedding {1e3 * medians['embed']['wall']:.1f} ms; the first explanation "
            f"takes {m['first_call_s'] - ours:.1f} s more than the next (tracing and compiling); "
            f"{in_bfloat16(m, medians[ways[0]]['wall'])}; "
            f"the waiting side used {m['idle_side_cpu_s']:.2f} s of CPU at most; gates: "
            + ", ".join(f"{kind} {gate:.0e}" for kind, gate in m["gates"].items())
        )
    each = ", ".join(f"{kind} {rate / 1e9:.0f} GFLOP/s" for kind, rate in rates.items())
    notes.append(f"The rate of a product of {SIZE}×{SIZE} matrices: {each}")
    notes.append(
        f"~: over the first {SCREENED} channels only, since it was more than {NEAR} times as slow "
        "as the fastest of PyTorch's ways there"
    )
    return "\n".join([table(header, rows), "", *notes])


def in_bfloat16(model: dict[str, Any], best: float) -> str:
    """What that precision gains on PyTorch's best way, where it was timed, and what it costs."""
    cost = f"in bfloat16 1 − cos of its maps is {model['bfloat16']['one_minus_cosine']:.0e}"
    if "bfloat16" not in model["medians"]:
        return cost
    target = model["targets"]["bfloat16"]
    ratio = best / model["medians"]["bfloat16"]["wall"]
    return f"{cost}, and PyTorch's best takes {ratio:.2f} times as long" + (
        f" (≥ {target})" if target else ""
    )


def main() -> int:
    """Time all models in reach; 1 where maps disagree."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    choices = (*MODELS, *BUILT)
    parser.add_argument(
        "--models", nargs="+", choices=choices, default=(*MODELS, *TARGETS["explain"])
    )
    parser.add_argument("--repeats", type=int, default=3, help="runs after the warm-up (3)")
    options = parser.parse_args()
    found = in_reach([name for name in options.models if name in MODELS])
    sides = Side(worker, "ours"), Side(worker, "torch")
    kinds = ("float32", "bfloat16") if multiplies_bfloat16() else ("float32",)
    rates = dict.fromkeys(kinds, 0.0)
    timed = [variant for variant in OURS if PRECISIONS.get(variant, "float32") in kinds]
    models: dict[str, Any] = {}
    for name in (name for name in options.models if name in found or name in BUILT):
        # Again and again, the highest: a noisy moment would make it too small.
        rates = {k: max(rates[k], *(side.ask("rate", k) for side in sides)) for k in kinds}
        models[name] = measure(name, *sides, options.repeats, timed)
        # After each, so that nothing is lost where time runs out.
        record = {"repeats": options.repeats, "rates": rates, "models": models}
        write("timing", record, render(models, rates))
    for side in sides:
        side.stop()
    return int(not all(map(agree, models.values())))


if __name__ == "__main__":
    sys.exit(main())

"""FGGB of a pair: ours against PyTorch's loops on the same ONNX weights, interleaved.

    python benchmarks/timing.py                 # about 5 minutes on two idle cores
    python benchmarks/timing.py --models dlib-resnet-v1 --repeats 5

Each side lives in a process of its own, warmed up, and only one of them works at a time: A B A B …
The other one blocks on a pipe; its CPU time meanwhile is measured and reported, since idle OpenMP
threads may spin. A figure is the median of the repeats; compilation is given apart. The maps of
both sides are compared in the same run: a fast wrong map is worth nothing.

Variants: ours `explain` (fx.explain) and `embed` (one image); PyTorch `loop` (N backward passes an
image, 2 threads), `2x1` (the same, an image for each of two Python threads of one thread each),
`vmap` (torch.func.vmap of a vjp, 16 channels at once).

An idle machine is needed: `busy` is the share of the wall time, over both cores, that other
processes took.
"""

import argparse
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import MODELS, in_reach, model_file, model_proto, table, write

PAUSE = 0.3  # seconds for the other side's threads to fall asleep
CHUNK = 16
VARIANTS = {"ours": ("explain", "embed"), "torch": ("loop", "2x1", "vmap")}
GATE_COSINE, GATE_L2 = 1e-6, 1e-3
Work = Callable[[], Any]


# Ours


def ours_work(name: str, images: list[np.ndarray]) -> dict[str, Work]:
    """The work of each of our variants."""
    import fggb_jax as fx

    model = fx.load_model(model_file(name))
    return {
        "explain": partial(_explain, fx.explain, model, images),
        "embed": lambda: np.asarray(model.embed(images[0][None])),
    }


def _explain(explain: Any, model: Any, images: list[np.ndarray]) -> np.ndarray:
    e = explain(model, *images, method="fggb")
    return np.stack([e.probe.p, e.probe.q, e.gallery.p, e.gallery.q])


# PyTorch's


def torch_work(name: str, images: list[np.ndarray]) -> dict[str, Work]:
    """The work of each of PyTorch's variants."""
    import torch_reference as ref

    import fggb_jax as fx

    embed = ref.embedder(model_proto(model_file(name)), fx.cards()[name].to_dict())
    tensors = [ref.as_image(image) for image in images]
    return {
        "loop": partial(_loop, embed, tensors),
        "2x1": partial(_two_threads, embed, tensors),
        "vmap": partial(_vmapped, embed, tensors),
    }


def _stack(a: Any, b: Any) -> np.ndarray:
    return np.stack([a.p, a.q, b.p, b.q])


def _loop(embed: Any, images: list[Any]) -> np.ndarray:
    import torch
    import torch_reference as ref

    torch.set_num_threads(2)
    pair = ref.fggb_loop(embed, *images)
    return _stack(pair.a, pair.b)


def _two_threads(embed: Any, images: list[Any]) -> np.ndarray:
    import torch
    import torch_reference as ref

    torch.set_num_threads(1)
    with ThreadPoolExecutor(2) as pool:
        faces = list(pool.map(lambda x: ref.forward(embed, x, "raw"), images))
        w = ref.weights(faces[0][1], faces[1][1])

        def one(face: Any) -> Any:
            return ref.fold(ref.channel_gradients(*face), w, "magnitude")

        return _stack(*pool.map(one, faces))


def _vmapped(embed: Any, images: list[Any]) -> np.ndarray:
    import torch
    import torch_reference as ref

    torch.set_num_threads(2)
    (z_a, pull_a), (z_b, pull_b) = (torch.func.vjp(embed, x) for x in images)
    w = ref.weights(z_a, z_b)
    return _stack(*(_vmapped_maps(pull, w) for pull in (pull_a, pull_b)))


def _vmapped_maps(pull: Any, w: Any) -> Any:
    import torch
    import torch_reference as ref

    p = q = 0
    for cotangents, weights in zip(torch.eye(len(w)).split(CHUNK), w.split(CHUNK), strict=True):
        (gradients,) = torch.func.vmap(pull)(cotangents)
        magnitude = gradients.detach().abs().mean(-1)
        maps = magnitude / magnitude.flatten(1).norm(dim=1)[:, None, None]
        p, q = p + torch.tensordot(weights, maps, 1), q + maps.sum(0) / len(w)
    return ref.Maps(p.numpy(), q.numpy())


# A process for each side


def worker(side: str, pipe: Any) -> None:
    """Obey ("load", model, images), ("run", variant), ("cpu",) and ("stop",)."""
    work: dict[str, Work] = {}
    while (order := pipe.recv())[0] != "stop":
        if order[0] == "load":
            work = (ours_work if side == "ours" else torch_work)(*order[1:])
            pipe.send(None)
        elif order[0] == "run":
            pipe.send(timed(work[order[1]]))
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


class Side:
    """One side's process, seen from here."""

    def __init__(self, name: str) -> None:
        context = multiprocessing.get_context("spawn")
        self.name = name
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=worker, args=(name, other), daemon=True)
        self.process.start()
        other.close()

    def ask(self, *order: Any) -> Any:
        self.pipe.send(order)
        return self.pipe.recv()

    def stop(self) -> None:
        self.pipe.send(("stop",))
        self.process.join()


# The measurement


def measure(name: str, sides: list[Side], repeats: int) -> dict[str, Any]:
    """All variants of one model, interleaved."""
    import fggb_jax as fx
    from fggb_jax.data import samples

    card = fx.cards()[name]
    images = [samples.chip(n, card) for n in ("obama_a", "obama_b")]
    for side in sides:
        side.ask("load", name, images)
    first, maps, runs, spin = {}, {}, {}, 0.0
    for repeat in range(repeats + 1):  # the first round warms up
        for i in range(max(map(len, VARIANTS.values()))):
            for side, other in zip(sides, reversed(sides), strict=True):
                for variant in VARIANTS[side.name][i : i + 1]:
                    time.sleep(PAUSE)
                    before = other.ask("cpu")
                    run = side.ask("run", variant)
                    spin = max(spin, other.ask("cpu") - before)
                    maps[variant] = run.pop("result")
                    if repeat:
                        runs.setdefault(variant, []).append(run)
                    else:
                        first[variant] = run["wall"]
    medians = {v: {k: statistics.median(r[k] for r in rs) for k in rs[0]} for v, rs in runs.items()}
    return {
        "channels": card.dimension,
        "medians": medians,
        "runs": runs,
        "first_call_s": first,
        "idle_side_cpu_s": spin,
        "parity": {v: errors(maps["explain"], maps[v]) for v in VARIANTS["torch"]},
    }


def errors(ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """Worst 1 − cosine and relative L2 of the four maps."""
    cosine, l2 = [], []
    for u, v in zip(ours.astype(np.float64), theirs.astype(np.float64), strict=True):
        cosine.append(0.5 * np.sum((u / np.linalg.norm(u) - v / np.linalg.norm(v)) ** 2))
        l2.append(np.linalg.norm(u - v) / np.linalg.norm(v))
    return {"one_minus_cosine": float(max(cosine)), "relative_l2": float(max(l2))}


def render(models: dict[str, Any]) -> str:
    """One line a variant; ratios are PyTorch's time over ours, more than 1 where ours is faster."""
    header = ("model", "variant", "s per pair", "ms per channel", "CPU s", "ratio to ours")
    rows, notes = [], []
    for name, m in models.items():
        ours = m["medians"]["explain"]["wall"]
        for variant, r in m["medians"].items():
            embed = variant == "embed"
            e = m["parity"].get(variant)
            rows.append(
                [
                    name,
                    f"{'ours' if variant in VARIANTS['ours'] else 'PyTorch'} {variant}",
                    "" if embed else f"{r['wall']:.2f}",
                    "" if embed else f"{1e3 * r['wall'] / (2 * m['channels']):.2f}",
                    f"{r['cpu']:.2f}",
                    f"{r['wall'] / ours:.2f}" if e else "",
                    f"{e['one_minus_cosine']:.0e}, {e['relative_l2']:.0e}" if e else "",
                    f"{100 * r['others']:.0f} %",
                ]
            )
        embedding = m["medians"]["embed"]["wall"]
        compiled = m["first_call_s"]["explain"] - ours
        notes.append(
            f"{name}: one embedding {1e3 * embedding:.1f} ms; the first explanation takes "
            f"{compiled:.1f} s more than the next (tracing and compiling); the waiting side used "
            f"{m['idle_side_cpu_s']:.2f} s of CPU at most"
        )
    text = table((*header, "1 − cos, L2", "busy"), rows)
    return "\n".join([text, "", *notes])


def main() -> int:
    """Time all models in reach; 1 where maps disagree."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--repeats", type=int, default=3, help="runs after the warm-up (3)")
    options = parser.parse_args()
    sides = [Side(name) for name in VARIANTS]
    models: dict[str, Any] = {}
    for name in in_reach(options.models):
        models[name] = measure(name, sides, options.repeats)
        print(f"{name}: measured", flush=True)
    for side in sides:
        side.stop()
    write("timing", {"repeats": options.repeats, "chunk": CHUNK, "models": models}, render(models))
    agree = [
        e["one_minus_cosine"] <= GATE_COSINE and e["relative_l2"] <= GATE_L2
        for m in models.values()
        for e in m["parity"].values()
    ]
    return int(not all(agree))


if __name__ == "__main__":
    sys.exit(main())

"""The forward pass of converted models beside onnxruntime and PyTorch, and what tracing costs.

    python benchmarks/forward.py                # about ten minutes on two idle cores

Batches of 1 and 16, each side in a process of its own, one at work at a time: A B C A B C …; a
figure is the median of the repeats, and outputs are compared in the same run. PyTorch runs the same
ONNX weights, normalizations folded, channels last. For ours also the seconds to read the file, to
trace it and to compile it; the share of the tracing that passes in onnx2jax's own functions, by
Python's profiler; and what onnx2jax adds to JAX's own time for the same program (`added`).
"""

import argparse
import cProfile
import itertools
import pstats
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from built import BUILT
from common import MODELS, elapsed, in_reach, table, write
from sides import Side
from timing import network

BATCHES = (1, 16)
GATE = 1e-4  # of the largest output
SIDES = ("onnx2jax", "onnxruntime", "PyTorch")
CALLS = 8  # timed together, since one of a millisecond is too short
TURNS = 5  # of each way to an executable; the least counts, since other work only adds


def pixels(name: str, batch: int) -> np.ndarray:
    """Random preprocessed images of a network's size, of the range that it was trained on."""
    from onnx2jax import load

    size = load(network(name)[0]).inputs[0].shape[-1]
    scale = 255.0 if name in ("dlib-resnet-v1", "sface") else 1.0
    return scale * np.random.default_rng(0).random((batch, 3, size, size), dtype=np.float32)


def ours(name: str) -> dict[str, Any]:
    """Our forward pass, and seconds of reading, tracing and compiling at batch 1."""
    return converted(network(name)[0], pixels(name, 1))


def deep_swin() -> dict[str, Any]:
    """The same of a Swin of thousands of nodes, as PyTorch's old exporter writes it."""
    import torch_networks

    swin = torch_networks.randomized(torch_networks.Swin(depth=11))
    proto = torch_networks.export(swin, opset=17, dynamo=False)
    x = np.random.default_rng(0).random((1, 3, 112, 112), dtype=np.float32)
    return {"nodes_in_file": len(proto.graph.node), **converted(proto, x)}


def converted(proto: Any, x: np.ndarray) -> dict[str, Any]:
    """A network's forward pass, and what it took to get there."""
    import jax

    import onnx2jax

    start = time.perf_counter()
    model = onnx2jax.load(proto)
    params = jax.block_until_ready(model.params)
    seconds = {"read": time.perf_counter() - start}

    def traced() -> Any:
        return jax.jit(lambda params, x: model(params, x)).trace(params, x)

    traced()  # JAX's own first time
    seconds["trace"] = statistics.median(elapsed(traced) for _ in range(5))
    program, lowered = traced(), list[Any]()
    seconds["lower"] = elapsed(lambda: lowered.append(program.lower()))
    seconds["compile"] = elapsed(lowered[0].compile)
    run = jax.jit(model)
    return {
        "run": lambda x: np.asarray(jax.tree.leaves(run(params, x))[0]),
        "seconds": seconds,
        "own_share_of_trace": _own_share(traced),
        "added": added(model, params, x),
        "nodes": sum(1 for _ in model.graph.walk()),
    }


def added(model: Any, params: Any, x: np.ndarray) -> dict[str, Any]:
    """What onnx2jax adds to JAX's own time, to trace the model and to make an executable of it.

    JAX's own is what it takes for the equations that came out, bound one by one: less than for any
    function that makes them by jax.numpy. Both ways start with empty caches, turn by turn, and must
    end in the same program, so that the rest of the way is the same.
    """
    import jax
    from jax.extend import core as jex

    jax.config.update("jax_enable_compilation_cache", False)
    leaves, structure = jax.tree.flatten((params, x))

    def network(*leaves: Any) -> Any:
        return model(*structure.unflatten(leaves))

    first = jax.jit(network).trace(*leaves)
    results = jax.tree.structure(first.out_info)

    def replayed(*leaves: Any) -> Any:
        return results.unflatten(jex.jaxpr_as_fun(first.jaxpr)(*leaves))

    replayed.__name__ = network.__name__  # which the program bears
    turns = [(_stages(network, leaves), _stages(replayed, leaves)) for _ in range(TURNS)]
    (*_, ours), (*_, same) = turns[-1]
    if ours != same:
        raise SystemExit("the model and its own equations give different programs")
    converted, own = (min(turn[side][0] for turn in turns) for side in range(2))
    rest = sum(min(way[stage] for turn in turns for way in turn) for stage in (1, 2))
    return {
        **{"seconds": converted, "own_seconds": own, "rest_seconds": rest},
        **{"to_trace": converted / own - 1, "to_all": (converted - own) / (own + rest)},
    }


def _stages(function: Callable[..., Any], leaves: list[Any]) -> tuple[float, float, float, str]:
    """Seconds to trace a function, to lower it and to compile it, all anew; and its program."""
    import jax

    jax.clear_caches()
    times = [time.perf_counter()]
    traced = jax.jit(function).trace(*leaves)
    times.append(time.perf_counter())
    lowered = traced.lower()
    times.append(time.perf_counter())
    lowered.compile()
    times.append(time.perf_counter())
    trace, lower, compiled = (b - a for a, b in itertools.pairwise(times))
    return trace, lower, compiled, lowered.as_text()


def _own_share(work: Callable[[], Any]) -> float:
    """How much of some work's time passes in functions of onnx2jax themselves, by the profiler."""
    profile = cProfile.Profile()
    profile.runcall(work)
    inside = {where: spent[2] for where, spent in pstats.Stats(profile).stats.items()}  # type: ignore[attr-defined]
    return sum(s for (file, *_), s in inside.items() if "onnx2jax" in file) / sum(inside.values())


def theirs(name: str) -> dict[str, Any]:
    """onnxruntime's, image by image where the file fixes the batch to 1."""
    import onnxruntime

    proto = network(name)[0]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    entry = session.get_inputs()[0]
    fixed = entry.shape[0] == 1

    def run(x: np.ndarray) -> np.ndarray:
        parts = np.split(x, len(x)) if fixed else [x]
        return np.concatenate([session.run(None, {entry.name: part})[0] for part in parts])

    return {"run": run}


def torchs(name: str) -> dict[str, Any]:
    """PyTorch's, folded, channels last."""
    import torch
    import torch_reference
    from fold import fold

    net = torch_reference.TorchNet(fold(network(name)[0]), torch.float32, torch.channels_last)

    def run(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            images = torch.from_numpy(x).contiguous(memory_format=torch.channels_last)
            return net(images).numpy()

    return {"run": run}


MAKERS = dict(zip(SIDES, (ours, theirs, torchs), strict=True))


def worker(pipe: Any, side: str) -> None:
    """Obey ("load", model), ("run", batch) and ("stop",)."""
    work: dict[str, Any] = {}
    inputs: dict[int, np.ndarray] = {}
    while (order := pipe.recv())[0] != "stop":
        if order[0] == "load":
            work = MAKERS[side](order[1])
            inputs = {batch: pixels(order[1], batch) for batch in BATCHES}
            pipe.send({k: v for k, v in work.items() if k != "run"})
            continue
        x = inputs[order[1]]
        work["run"](x)  # warm, after the other sides' turns
        start = time.perf_counter()
        for _ in range(CALLS):
            y = work["run"](x)
        pipe.send(((time.perf_counter() - start) / CALLS, y))


def measure(name: str, sides: dict[str, Side], repeats: int) -> dict[str, Any]:
    """One network: milliseconds of each side and batch, errors, what tracing took."""
    facts = {side: process.ask("load", name) for side, process in sides.items()}["onnx2jax"]
    found: dict[str, Any] = {**facts, "ms": {}, "error": {}}
    for batch in BATCHES:
        seconds: dict[str, list[float]] = {side: [] for side in sides}
        outputs = {}
        for _ in range(repeats):
            for side, process in sides.items():
                time.sleep(0.3)  # for the other side's threads to fall asleep
                wall, outputs[side] = process.ask("run", batch)
                seconds[side].append(wall)
        found["ms"][str(batch)] = {s: 1e3 * statistics.median(v) for s, v in seconds.items()}
        largest = np.abs(outputs["onnxruntime"]).max()
        error = np.abs(outputs["onnx2jax"] - outputs["onnxruntime"]).max() / largest
        found["error"][str(batch)] = float(error)
    return found


def render(models: dict[str, Any], swin: dict[str, Any]) -> str:
    """A line a network and batch, ratios above 1 where we are faster; then what the Swin took."""
    header = (
        *("model", "batch", "onnx2jax, ms", "onnxruntime ÷ ours", "PyTorch ÷ ours", "error"),
        *("read, s", "trace, s (onnx2jax's own)", "compile, s", "adds to trace, to all"),
    )
    rows = []
    for name, m in models.items():
        for batch, ms in m["ms"].items():
            own, s = ms["onnx2jax"], m["seconds"]
            rows.append(
                (
                    *(name, batch, f"{own:.1f}", f"{ms['onnxruntime'] / own:.2f}"),
                    *(f"{ms['PyTorch'] / own:.2f}", f"{m['error'][batch]:.0e}"),
                    f"{s['read']:.2f}",
                    f"{s['trace']:.2f} ({m['own_share_of_trace']:.0%})",
                    f"{s['lower'] + s['compile']:.2f}",
                    _added(m),
                )
            )
    s = swin["seconds"]
    return (
        f"{table(header, rows)}\n\nWhat onnx2jax adds is measured against the seconds that JAX "
        "alone takes for the same equations, all caches empty: to trace them, and to trace and "
        f"compile them.\n\nA Swin of {swin['nodes_in_file']:,} nodes, {swin['nodes']:,} "
        f"of them evaluated: read in {s['read']:.1f} s, traced in {s['trace']:.1f} s "
        f"({swin['own_share_of_trace']:.0%} in onnx2jax's own functions), compiled in "
        f"{s['lower'] + s['compile']:.1f} s; onnx2jax adds {_added(swin)} (to trace, to all)."
    )


def _added(facts: dict[str, Any]) -> str:
    return f"{facts['added']['to_trace']:.0%}, {facts['added']['to_all']:.1%}"


def main() -> int:
    """Measure all networks in reach; 1 where outputs disagree."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    choices = (*MODELS, *BUILT)
    default = (*MODELS, "mobilefacenet-512", "iresnet-18", "iresnet-50")
    parser.add_argument("--models", nargs="+", choices=choices, default=default)
    parser.add_argument("--repeats", type=int, default=5, help="turns of each side (5)")
    options = parser.parse_args()
    found = in_reach([name for name in options.models if name in MODELS])
    sides = {side: Side(worker, side) for side in SIDES}
    models: dict[str, Any] = {}
    swin = {key: value for key, value in deep_swin().items() if key != "run"}
    for name in (name for name in options.models if name in found or name in BUILT):
        models[name] = measure(name, sides, options.repeats)
        record = {"repeats": options.repeats, "models": models, "swin": swin}
        write("forward", record, render(models, swin))
    for side in sides.values():
        side.stop()
    return int(any(e > GATE for m in models.values() for e in m["error"].values()))


if __name__ == "__main__":
    sys.exit(main())

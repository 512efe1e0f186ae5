"""Photographs a second, from the file to the embedding: ours beside dlib and OpenCV, interleaved.

    python benchmarks/throughput.py             # about 25 minutes on two idle cores
    python benchmarks/throughput.py --quick     # about 3: few photographs, one round

Ours is what `fggb verify` runs (`fggb_jax.evaluation.scoring`). The C++ ways are those of
`pipelines.py`, each on two cores as well: "2 × 1" is two processes of one thread, "1 × 2" one of
two. dlib's wheel (dlib-bin: AVX, but no BLAS, which a dlib compiled on the machine may have, and be
faster) has one thread and holds Python's lock: it is two processes or half as fast.
Every way lives in processes of its own, and only one works at a time, way after way, round after
round; the first round warms up, and what it takes beyond the others is loading and compiling, for
the large photographs what is not compiled yet. The ratio is C++'s time ÷ ours of the same round:
the median, and the least and the greatest. Where it can be divided in two ways the faster one
counts. Ours pads its last batch of faces to 32, so that few photographs cost it more each.

In the same run the embeddings are compared: a fast wrong one is worth nothing. Detectors differ,
and so do landmarks: dlib's CNN is the one that ours computes too (a large photograph apart, which
the two make smaller by different filters, and ours alone cuts the chip from the whole one); dlib's
HOG detector is what most of its users run; OpenCV takes YuNet's landmarks at one scale, ours their
median over several.

Stages are timed one image at a time on one core, in CPU time, our embedding in batches of 32.

An idle machine is needed: `busy` is the share of the wall time, over both cores, that other
processes took.
"""

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pipelines
from common import in_reach, shared_data, table, write
from lfw import read_pairs
from pipelines import DLIB, OURS, SFACE, STAGES
from timing import PAUSE, busy_seconds

GATE_COSINE = 0.999  # of the median embedding by dlib's CNN, on photographs that need no shrinking


class Way(NamedTuple):
    """One way to do the whole work on two cores.

    Attributes:
        model: the recognizer; the first way of each is ours, which the others are compared with.
        name: of `pipelines.embed_files`.
        workers: processes.
        threads: of each.
    """

    model: str
    name: str
    workers: int = 1
    threads: int = 2

    def __str__(self) -> str:
        return self.name if self.name in OURS else f"{self.name}, {self.workers} × {self.threads}"


WAYS = (
    Way(DLIB, "ours"),
    Way(DLIB, "dlib, CNN", 2, 1),
    Way(DLIB, "dlib, HOG", 2, 1),
    Way(SFACE, "ours, YuNet"),
    Way(SFACE, "ours, dlib CNN"),
    Way(SFACE, "OpenCV", 2, 1),
    Way(SFACE, "OpenCV", 1, 2),
)


# Processes that do the work


def pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))


def work(name: str, threads: int, paths: Sequence[Path]) -> tuple[np.ndarray, float]:
    """In a process of its own: the embeddings, and the CPU seconds that they took."""
    before = time.process_time()
    return pipelines.embed_files(name, threads, paths), time.process_time() - before


class Side:
    """The processes of one way."""

    def __init__(self, way: Way) -> None:
        self.way = way
        self.pool = pool(way.workers)
        self.work = partial(work, way.name, way.threads)

    def warm_up(self, paths: Sequence[Path]) -> float:
        """The seconds that the first round takes; in C++ two photographs in each process will do.

        For ours each size of photograph is a program.
        """
        start = time.perf_counter()
        jobs = [paths] if self.way.name in OURS else [paths[:2]] * self.way.workers
        list(self.pool.map(self.work, jobs))
        return time.perf_counter() - start

    def run(self, paths: Sequence[Path]) -> dict[str, Any]:
        """Wall and CPU seconds, the share that others took, and the embeddings (K, N)."""
        # Two processes take the next photograph when they are free; one gets them all at once.
        jobs = [paths] if self.way.workers == 1 else [[path] for path in paths]
        wall, others = time.perf_counter(), busy_seconds() - time.process_time()
        found = list(self.pool.map(self.work, jobs))
        wall = time.perf_counter() - wall
        cpu = sum(seconds for _, seconds in found)
        others = busy_seconds() - time.process_time() - others - cpu
        return {
            "wall": wall,
            "cpu": cpu,
            "others": max(others, 0) / (wall * (os.cpu_count() or 1)),
            "embeddings": stacked([z for z, _ in found]),
        }


def stacked(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Rows of all parts; a part in which no face was found does not know how wide rows are."""
    width = max(part.shape[1] for part in parts)
    rows = [np.full((len(p), width), np.nan) if np.isnan(p).all() else p for p in parts]
    return np.concatenate(rows)


# The measurement


def measure(sides: Sequence[Side], paths: Sequence[Path], rounds: int) -> list[dict[str, Any]]:
    """All ways in turn, one record each."""
    first = [side.warm_up(paths) for side in sides]
    runs, embeddings = [[] for _ in sides], [np.empty(0)] * len(sides)
    for turn in range(rounds):
        for i, side in enumerate(sides):
            time.sleep(PAUSE)
            run = side.run(paths)
            embeddings[i] = run.pop("embeddings")
            runs[i].append(run)
            print(f"  {turn + 1} {side.way}: {run['wall']:.1f} s", flush=True)
    ours = {side.way.model: i for i, side in reversed(list(enumerate(sides)))}
    records = []
    for i, side in enumerate(sides):
        record = {**side.way._asdict(), "first_round_s": first[i]}
        record |= summary(runs[i], embeddings[i])
        if (reference := ours[side.way.model]) != i:
            record["ratio"] = ratios(runs[i], runs[reference])
            record["cosine_to_ours"] = cosines(embeddings[i], embeddings[reference])
        records.append(record)
    return records


def summary(runs: list[dict[str, Any]], embeddings: np.ndarray) -> dict[str, Any]:
    """What is known of one way alone."""
    return {
        **{k: statistics.median(run[k] for run in runs) for k in runs[0]},
        "no_face": int(np.isnan(embeddings).any(1).sum()),
        "runs": runs,
    }


def ratios(theirs: Sequence[dict[str, Any]], ours: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Their time ÷ ours, round by round."""
    found = [a["wall"] / b["wall"] for a, b in zip(theirs, ours, strict=True)]
    return {"median": statistics.median(found), "min": min(found), "max": max(found)}


def cosines(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """How far the embeddings agree where both found a face."""
    both = ~(np.isnan(a).any(1) | np.isnan(b).any(1))
    a, b = a[both].astype(np.float64), b[both].astype(np.float64)
    found = np.sum(a * b, axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    if not len(found):
        return {"median": np.nan, "min": np.nan, "of": 0}
    return {"median": float(np.median(found)), "min": float(found.min()), "of": len(found)}


@contextmanager
def on_one_core() -> Iterator[None]:
    """Processes that are started meanwhile have one core, where the system can do that."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def measure_stages(name: str, inputs: Sequence[Sequence[Path]]) -> list[dict[str, float]]:
    """For each input, milliseconds a photograph of each stage of one way."""
    with on_one_core(), pool(1) as process:
        found = list(process.map(partial(pipelines.stage_seconds, name), inputs))
    print(f"  stages of {name}: {[round(1e3 * sum(x.values()), 1) for x in found]} ms", flush=True)
    return [{stage: 1e3 * value for stage, value in seconds.items()} for seconds in found]


@contextmanager
def compiling_once() -> Iterator[None]:
    """Let the processes share what they compile: the first one still finds nothing."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
        yield


# The photographs


def inputs(lfw_images: int, photographs: int) -> dict[str, list[Path]]:
    """The files: LFW View 1's at even steps through the names, and the large photographs."""
    folder = shared_data()
    if not (folder / "lfw" / "pairs.csv").is_file():
        raise SystemExit(f"no photographs at {folder}; set FGGB_SHARED to the folder that has them")
    names = read_pairs(folder / "lfw" / "pairs.csv")[0]
    chosen = names[:: max(1, len(names) // max(1, lfw_images))][:lfw_images]
    large = sorted(path for path in (folder / "photos").rglob("*.jp*g"))
    found = {
        f"{lfw_images} photographs of LFW, 250×250": [folder / "lfw" / name for name in chosen],
        f"{photographs} large photographs": large[:photographs],
    }
    return {title: paths for title, paths in found.items() if paths}


# The tables


def render(found: dict[str, Any]) -> str:
    """For each input the ways, what compiling takes, and the stages."""
    parts = []
    for title, m in found.items():
        rows = [way_row(r, m["images"]) for r in m["ways"]]
        header = (
            *("model", "way", "photographs / s", "ms", "CPU ms", "time ÷ ours (min–max)"),
            *("no face", "cosine to ours: median, least", "busy"),
        )
        ours = [r for r in m["ways"] if r["name"] in OURS]
        compiling = ", ".join(
            f"{r['name']} {max(0, r['first_round_s'] - r['wall']):.1f} s" for r in ours
        )
        parts += [f"**{title}**", table(header, rows)]
        parts.append(f"The first round takes longer by (compiling, loading): {compiling}.")
        names = list(m["stages"])
        stages = [
            [stage, *(milliseconds(m["stages"][name].get(stage)) for name in names)]
            for stage in STAGES
        ]
        total = ["all", *(milliseconds(sum(m["stages"][name].values())) for name in names)]
        parts.append("CPU ms a photograph of each stage, one core:")
        parts.append(table(("stage", *names), [*stages, total]))
    return "\n\n".join(parts)


def way_row(r: dict[str, Any], images: int) -> list[Any]:
    """One line of the table of ways."""
    way, ratio, cosine = Way(*(r[k] for k in Way._fields)), r.get("ratio"), r.get("cosine_to_ours")
    return [
        way.model,
        way,
        f"{images / r['wall']:.2f}",
        f"{1e3 * r['wall'] / images:.1f}",
        f"{1e3 * r['cpu'] / images:.1f}",
        f"{ratio['median']:.2f} ({ratio['min']:.2f}–{ratio['max']:.2f})" if ratio else "",
        r["no_face"],
        f"{cosine['median']:.5f}, {cosine['min']:.4f} of {cosine['of']}" if cosine else "",
        f"{100 * r['others']:.0f} %",
    ]


def milliseconds(value: float | None) -> str:
    """A dash where a stage is part of the one before."""
    return "–" if value is None else f"{value:.1f}"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=(DLIB, SFACE), default=(DLIB, SFACE))
    parser.add_argument("--images", type=int, default=200, help="photographs of LFW (%(default)s)")
    parser.add_argument("--photos", type=int, default=13, help="large ones (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="after the warm-up (%(default)s)")
    parser.add_argument("--stage-images", type=int, default=16, help="for the stages (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="8 and 2 photographs, one round")
    options = parser.parse_args()
    if options.quick:
        options.images, options.photos, options.rounds, options.stage_images = 8, 2, 1, 1
    return options


def main() -> int:
    """Measure all ways on both inputs; 1 where our embeddings are not dlib's."""
    options = parse()
    models = in_reach(options.models)
    chosen = inputs(options.images, options.photos)
    with compiling_once():
        sides = [Side(way) for way in WAYS if way.model in models]
        found: dict[str, Any] = {}
        for title, paths in chosen.items():
            print(title, flush=True)
            found[title] = {"images": len(paths), "ways": measure(sides, paths, options.rounds)}
            found[title]["stages"] = {}
        for side in sides:
            side.pool.shutdown()
        samples = [paths[: options.stage_images] for paths in chosen.values()]
        for name in dict.fromkeys(side.way.name for side in sides):
            for m, stages in zip(found.values(), measure_stages(name, samples), strict=True):
                m["stages"][name] = stages
    write("throughput", {"mode": vars(options), "inputs": found}, render(found))
    lfw = next(iter(found.values()))["ways"]
    same = [r["cosine_to_ours"]["median"] for r in lfw if r["name"] == "dlib, CNN"]
    return int(not all(value >= GATE_COSINE for value in same))


if __name__ == "__main__":
    sys.exit(main())

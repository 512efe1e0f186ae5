"""Pairs a second from files to stored maps, and where the time goes.

    python benchmarks/pipeline.py               # about 10 minutes on two idle cores
    python benchmarks/pipeline.py --pairs 4 --models mobilefacenet

Pairs of LFW in which photographs recur: those of View 1's list whose two photographs are in the
most pairs. Every photograph is read, its face found and aligned once; `fx.explain_pairs` embeds
each face and walks its channels once; each explanation is written as `Explanation.save` does.
The stages come one after the other, so that each one's share of the wall time is its own: faces by
two threads, as `fggb verify` finds them, channels by two as `fx.explain` walks them.

Everything runs twice: the first run compiles (its time is given apart). In the second one the maps
of the first pair are compared with those of `fx.explain`.

An idle machine is needed: `busy` is the share of the wall time, over both cores, that other
processes took.
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from common import MODELS, in_reach, model_file, shared_data, table, write
from lfw import read_pairs
from timing import busy_seconds, errors

import fggb_jax as fx
from fggb_jax.attribution.by_image import Driven
from fggb_jax.data.images import read_image
from fggb_jax.errors import ImageError
from fggb_jax.faces.finder import detector_for, find_face

STAGES = ("read", "find and align", "embed", "channels", "write", "rest")
ENGINE = "channels"
MOST = 0.10  # of the time, for everything that is not the engine
THREADS = 2
GATE_COSINE, GATE_L2 = 1e-10, 1e-5


class Stopwatch:
    """Adds up the wall time of stages.

    Attributes:
        seconds: of each stage.
    """

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Count what happens meanwhile."""
        start = time.perf_counter()
        yield
        self.seconds[stage] += time.perf_counter() - start

    def around(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, watched."""

        def watched(*args: Any) -> Any:
            with self.of(stage):
                return function(*args)

        return watched


def recurring(count: int) -> tuple[list[Path], list[tuple[int, int]]]:
    """The photographs and pairs of LFW, those pairs whose photographs recur most."""
    folder = shared_data() / "lfw"
    if not (folder / "pairs.csv").is_file():
        raise SystemExit(f"LFW View 1 is not at {folder}; set FGGB_SHARED to its parent folder")
    names, pairs, _ = read_pairs(folder / "pairs.csv")
    times = Counter(pairs.ravel().tolist())
    order = sorted(range(len(pairs)), key=lambda i: -min(times[j] for j in pairs[i].tolist()))
    chosen = [tuple(pairs[i].tolist()) for i in sorted(order[:count])]
    index = {j: n for n, j in enumerate(dict.fromkeys(j for pair in chosen for j in pair))}
    return [folder / names[j] for j in index], [(index[a], index[b]) for a, b in chosen]


def detector(card: fx.Card) -> Any:
    """The one that `--detector auto` takes where YuNet is here."""
    yunet = shared_data() / "models" / "face_detection_yunet_2023mar.onnx"
    dlib = (card.template or "").startswith("dlib") or not yunet.is_file()
    return detector_for(card, "dlib" if dlib else yunet)


def faces(
    model: fx.FaceModel, finder: Any, paths: list[Path], watch: Stopwatch
) -> dict[int, np.ndarray]:
    """The aligned faces, by index; none of a photograph without one."""

    def find(photo: np.ndarray) -> np.ndarray | None:
        try:
            return find_face(photo, model.card, finder, which="center", name="").aligned.chip
        except ImageError:
            return None

    with ThreadPoolExecutor(THREADS) as pool:
        with watch.of("read"):
            photos = list(pool.map(read_image, paths))
        with watch.of("find and align"):
            found = list(pool.map(find, photos))
    return {i: chip for i, chip in enumerate(found) if chip is not None}


def run(
    model: fx.FaceModel,
    finder: Any,
    paths: list[Path],
    pairs: list[tuple[int, int]],
    folder: Path,
) -> dict[str, Any]:
    """Once, from files to files."""
    watch = Stopwatch()
    start, others = time.perf_counter(), busy_seconds() - time.process_time()
    chips = faces(model, finder, paths, watch)
    usable = [pair for pair in pairs if chips.keys() >= set(pair)]
    images = np.stack([chips.get(i, np.zeros_like(chips[min(chips)])) for i in range(len(paths))])
    with (
        patch.object(Driven, "embed", watch.around("embed", Driven.embed)),
        patch.object(Driven, "walk", watch.around(ENGINE, Driven.walk)),
    ):
        for i, e in enumerate(fx.explain_pairs(model, images, usable)):
            with watch.of("write"):
                e.save(folder / f"{i}.npz")
    wall = time.perf_counter() - start
    others = busy_seconds() - time.process_time() - others
    watch.seconds["rest"] = wall - sum(watch.seconds.values())
    stored = sum(path.stat().st_size for path in folder.iterdir())
    return {
        "wall": wall,
        "others": max(others, 0) / (wall * (os.cpu_count() or 1)),
        "pairs": len(usable),
        "images": len({i for pair in usable for i in pair}),
        "dropped": len(pairs) - len(usable),
        "bytes": stored,
        "seconds": watch.seconds,
        "parity": parity(model, images, usable[0], folder / "0.npz"),
    }


def parity(
    model: fx.FaceModel, images: np.ndarray, pair: tuple[int, int], path: Path
) -> dict[str, float]:
    """The stored maps of the first pair beside those of `fx.explain`."""
    found = fx.Explanation.load(path), fx.explain(model, *(images[i] for i in pair))
    maps = [np.stack([e.probe.p, e.probe.q, e.gallery.p, e.gallery.q]) for e in found]
    return errors(*maps)


def measure(name: str, count: int) -> dict[str, Any]:
    """One model, twice."""
    model = fx.load_model(model_file(name))
    finder = detector(model.card)
    paths, pairs = recurring(count)
    runs = []
    for _ in range(2):
        with tempfile.TemporaryDirectory() as folder:
            runs.append(run(model, finder, paths, pairs, Path(folder)))
    return {**runs[1], "first_run_s": runs[0]["wall"], "detector": finder.name}


def shares(m: dict[str, Any]) -> dict[str, float]:
    """Of the wall time."""
    return {stage: seconds / m["wall"] for stage, seconds in m["seconds"].items()}


def render(models: dict[str, Any]) -> str:
    """A line for each model."""
    rows = []
    for name, m in models.items():
        e = m["parity"]
        rows.append(
            (
                name,
                m["detector"],
                f"{m['pairs']} of {m['images']}",
                f"{m['pairs'] / m['wall']:.2f}",
                *(f"{100 * share:.1f} %" for share in shares(m).values()),
                f"{m['bytes'] / m['pairs'] / 1e6:.2f}",
                f"{m['first_run_s'] - m['wall']:.0f}",
                f"{e['one_minus_cosine']:.0e}, {e['relative_l2']:.0e}",
                f"{100 * m['others']:.0f} %",
            )
        )
    header = ("model", "faces by", "pairs of images", "pairs / s", *STAGES, "MB a pair")
    return table((*header, "s to compile", "1 − cos, L2", "busy"), rows)


def main() -> int:
    """Measure all models in reach; 1 where maps differ or another stage takes too much."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--pairs", type=int, default=40, help="pairs of LFW (%(default)s)")
    options = parser.parse_args()
    models: dict[str, Any] = {}
    for name in in_reach(options.models):
        models[name] = measure(name, options.pairs)
        print(f"{name}: measured", flush=True)
    write("pipeline", {"pairs": options.pairs, "models": models}, render(models))
    failed = [
        f"{name}: {stage} takes {100 * share:.1f} %"
        for name, m in models.items()
        for stage, share in shares(m).items()
        if stage != ENGINE and share > MOST
    ]
    failed += [
        f"{name}: the stored maps are not those of fx.explain"
        for name, m in models.items()
        if m["parity"]["one_minus_cosine"] > GATE_COSINE or m["parity"]["relative_l2"] > GATE_L2
    ]
    print(*failed, sep="\n")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())

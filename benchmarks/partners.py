"""What many partners cost: the probe's maps for 1, 100 and 1,000 gallery embeddings, interleaved.

    python benchmarks/partners.py               # about 5 minutes on two idle cores
    python benchmarks/partners.py --models dlib-resnet-v1 --rounds 1

`fx.explain_one_to_many` walks the probe's channels once, whatever the number of partners. In each
round every number of partners has its turn; the ratio is to the same round's one partner, the
median over the rounds. What the result itself takes (1,000 maps of 150×150: 90 MB) is in the time.

Parity, in the same run: the first gallery embedding is a real face's, and its map is compared with
that of `fx.explain`; the maps of all other partners with those of a call of their own for a few.

`mobilefacenet-512` is built with random weights (`tests/support/networks.py`): N = 512.

An idle machine is needed: `busy` is the share of the wall time, over both cores, that other
processes took.
"""

import argparse
import statistics
import sys
import time
from functools import partial
from typing import Any

import numpy as np
from common import MODELS, ROOT, in_reach, model_file, table, write
from timing import PAUSE, errors, timed

import fggb_jax as fx
from fggb_jax.data import samples

BUILT = "mobilefacenet-512"
NUMBERS = (1, 100, 1000)
GATE_COSINE, GATE_L2 = 1e-10, 1e-5
GATE_RATIO = 1.10  # of the most partners to one


def load(name: str) -> fx.FaceModel:
    """A recognizer by its name."""
    if name != BUILT:
        return fx.load_model(model_file(name))
    sys.path.append(str(ROOT / "tests" / "support"))
    import networks

    card = fx.Card(
        BUILT, size=(112, 112), mean=(0.5,) * 3, std=(0.5,) * 3, template="arcface-112", threshold=0
    )
    return fx.load_model(networks.mobilefacenet(scale=2), card=card)


def measure(name: str, rounds: int) -> dict[str, Any]:
    """All numbers of partners of one model, interleaved."""
    model = load(name)
    probe, real = (samples.chip(n, model.card) for n in ("obama_a", "obama_b"))
    others = np.random.default_rng(0).normal(size=(max(NUMBERS) - 1, model.dimension))
    galleries = np.concatenate([model.embed(real[None]), others.astype(np.float32)])
    runs: dict[int, list[dict[str, Any]]] = {number: [] for number in NUMBERS}
    p = q = np.empty(0)
    for turn in range(rounds + 1):  # the first one warms up
        for number in NUMBERS:
            time.sleep(PAUSE)
            run = timed(partial(fx.explain_one_to_many, model, probe, galleries[:number]))
            found = run.pop("result")
            p, q = found.p, found.q
            del found
            if turn:
                runs[number].append(run)
    return {
        "channels": model.dimension,
        "medians": {
            number: {k: statistics.median(r[k] for r in rs) for k in rs[0]}
            for number, rs in runs.items()
        },
        "ratios": {n: ratios(runs[n], runs[1]) for n in NUMBERS[1:]},
        "runs": runs,
        "parity": parity(model, probe, real, galleries, p, q),
    }


def ratios(many: list[dict[str, Any]], one: list[dict[str, Any]]) -> dict[str, float]:
    """The time of many partners by that of one, round by round."""
    found = [a["wall"] / b["wall"] for a, b in zip(many, one, strict=True)]
    return {"median": statistics.median(found), "min": min(found), "max": max(found)}


def parity(
    model: fx.FaceModel,
    probe: np.ndarray,
    real: np.ndarray,
    galleries: np.ndarray,
    p: np.ndarray,
    q: np.ndarray,
) -> dict[str, float]:
    """How far the maps of all partners are from those of a pair, and of a few partners."""
    pair = fx.explain(model, probe, real).probe
    some = slice(1, None, 111)
    few = fx.explain_one_to_many(model, probe, galleries[some])
    assert isinstance(few, fx.ProbeMaps)
    return errors(np.stack([p[0], q, *p[some]]), np.stack([pair.p, pair.q, *few.p]))


def render(models: dict[str, Any]) -> str:
    """A line for each model and number of partners."""
    header = ("model", "partners", "s", "CPU s", "time ÷ one partner's (min–max)")
    rows = []
    for name, m in models.items():
        for number, run in m["medians"].items():
            ratio, e = m["ratios"].get(number), m["parity"]
            rows.append(
                (
                    f"{name}, N = {m['channels']}",
                    f"{number:,}",
                    f"{run['wall']:.2f}",
                    f"{run['cpu']:.2f}",
                    f"{ratio['median']:.3f} ({ratio['min']:.3f}–{ratio['max']:.3f})"
                    if ratio
                    else "",
                    f"{e['one_minus_cosine']:.0e}, {e['relative_l2']:.0e}"
                    if number == max(NUMBERS)
                    else "",
                    f"{100 * run['others']:.0f} %",
                )
            )
    return table((*header, "1 − cos, L2", "busy"), rows)


def main() -> int:
    """Measure all models in reach; 1 where maps differ or many partners cost too much."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = (*MODELS, BUILT)
    parser.add_argument("--models", nargs="+", choices=names, default=names)
    parser.add_argument("--rounds", type=int, default=7, help="after the warm-up (%(default)s)")
    options = parser.parse_args()
    real = in_reach([name for name in options.models if name != BUILT])
    models: dict[str, Any] = {}
    for name in [*real, *(name for name in options.models if name == BUILT)]:
        models[name] = measure(name, options.rounds)
        print(f"{name}: measured", flush=True)
    write("partners", {"rounds": options.rounds, "models": models}, render(models))
    agree = all(
        m["parity"]["one_minus_cosine"] <= GATE_COSINE and m["parity"]["relative_l2"] <= GATE_L2
        for m in models.values()
    )
    cheap = all(m["ratios"][max(NUMBERS)]["median"] < GATE_RATIO for m in models.values())
    if not agree:
        print("the maps differ")
    if not cheap:
        print(f"{max(NUMBERS):,} partners cost {GATE_RATIO:.2f} times as much as one, or more")
    return int(not (agree and cheap))


if __name__ == "__main__":
    sys.exit(main())

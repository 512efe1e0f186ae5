"""How near FGGB's maps are to the exact ones when norms are estimated, against what they cost.

    python benchmarks/fewer_passes.py            # about 15 minutes on two idle cores
    python benchmarks/fewer_passes.py --pairs 2 --models dlib-resnet-v1

Thirty pairs of LFW View 1, half of them genuine, both faces of each. The exact map is summed here
from every channel's gradient; `norms=` is asked of `fx.explain`, as a user would. The cards' norms
were measured on other people (benchmarks/norms.py). "top" is drawn at other shares too, computed
here from the definition; at the library's own share both must agree. For magnitude the same tenth
of the channels, alone and with the mean of their maps in place of the others', shows why there is
no such option. S is the map at the card's threshold, S(cos) the one at the pair's own cosine.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from common import MODELS, RESULTS, ROOT, in_reach, model_file, table, write
from lfw import add_cache_option, load, test_pairs
from norms import PAIRS
from scipy.stats import spearmanr

import fggb_jax as fx
from fggb_jax.attribution import norms as estimates
from fggb_jax.attribution.walk import channel_values
from fggb_jax.data.images import as_float

ESTIMATES = ("equal", "calibrated", "top")
SHARES = (0.05, 0.1, 0.25, 0.5)  # of the channels, with exact norms
TIMED = 3  # pairs whose seconds are taken
PICTURE = ROOT / "docs" / "images" / "fewer_passes.png"
BLUE, GREY, RED = "#1f5fa8", "#9a9a9a", "#c0392b"
Row = dict[str, Any]


def gradients(model: fx.FaceModel, chip: np.ndarray) -> np.ndarray:
    """(N, H, W, 3), every channel's gradient for one chip."""
    # The very bits that `fx.explain` sees: another rounding of one pixel may flip a kink.
    image = jnp.asarray(as_float(chip, chip.shape, "a chip"))
    return np.asarray(channel_values(model, image, "gradient"))


def error(ours: np.ndarray, exact: np.ndarray) -> dict[str, float]:
    """Cosine, relative L2 error and Spearman's rank correlation of a map to the exact one."""
    u, v = np.asarray(ours, np.float64).ravel(), np.asarray(exact, np.float64).ravel()
    return {
        "cosine": float(u @ v / np.linalg.norm(u) / np.linalg.norm(v)),
        "l2": float(np.linalg.norm(u - v) / np.linalg.norm(v)),
        "spearman": float(spearmanr(u, v).statistic),
    }


def top_norms(true: np.ndarray, card: np.ndarray, weights: np.ndarray, share: float) -> np.ndarray:
    """The definition of "top" for any share of the channels."""
    heavy = np.argsort(-np.abs(weights / card))[: int(np.ceil(share * len(true)))]
    found = card * np.sqrt(np.mean((true[heavy] / card[heavy]) ** 2))
    found[heavy] = true[heavy]
    return found


def summed(coefficients: np.ndarray, jacobian: np.ndarray) -> np.ndarray:
    """Σ_k c_k J_k averaged over RGB, (H, W)."""
    return np.tensordot(coefficients.astype(np.float32), jacobian, 1).mean(-1)


def signed_rows(
    face: Any, specific: Any, jacobian: np.ndarray, weights: list[np.ndarray]
) -> Iterator[Row]:
    """What `fx.explain` estimates, against the sum of exact unit gradients.

    Args:
        face: by estimate, the map at the threshold.
        specific: by estimate, the map at the cosine.
        jacobian: (N, H, W, 3).
        weights: w − t/N at the threshold, and at the cosine.
    """
    true = np.sqrt(np.sum(jacobian.astype(np.float64) ** 2, (1, 2, 3)))
    exact = [summed(c / true, jacobian) for c in weights]
    for name in face:
        maps = face[name].signed, specific[name].signed
        yield row(name, estimates.passes(name, len(true)), maps, exact)


def shares_rows(jacobian: np.ndarray, card: np.ndarray, weights: list[np.ndarray]) -> Iterator[Row]:
    """The norms of the heaviest channels exact, at several shares; chosen at the threshold."""
    true = np.sqrt(np.sum(jacobian.astype(np.float64) ** 2, (1, 2, 3)))
    exact = [summed(c / true, jacobian) for c in weights]
    for share in SHARES:
        found = top_norms(true, card, weights[0], share)
        maps = [summed(c / found, jacobian) for c in weights]
        yield row(f"top {share:.0%}", int(np.ceil(share * len(true))) + 2, maps, exact)


def magnitude_rows(jacobian: np.ndarray, weights: list[np.ndarray]) -> Iterator[Row]:
    """The heaviest tenth of magnitude's unit maps, alone and with their mean for the others."""
    units = np.abs(jacobian).mean(-1)
    units /= np.sqrt(np.sum(units**2, (1, 2), keepdims=True))
    count = estimates.top_count(len(units))
    exact = [np.tensordot(c, units, 1) for c in weights]
    alone, filled = [], []
    for c in weights:
        heavy = np.argsort(-np.abs(c))[:count]
        part = np.tensordot(c[heavy], units[heavy], 1)
        alone.append(part)
        filled.append(part + (c.sum() - c[heavy].sum()) * units[heavy].mean(0))
    yield row("magnitude, the heaviest tenth alone", count, alone, exact)
    yield row("magnitude, and their mean for the others", count, filled, exact)


def row(way: str, vjps: int, maps: Any, exact: Any) -> Row:
    """One way's errors at the threshold and at the cosine."""
    at = {name: error(u, v) for name, u, v in zip(("S", "S(cos)"), maps, exact, strict=True)}
    return {"way": way, "vjps": vjps, **at}


def check_pair(model: fx.FaceModel, chips: np.ndarray) -> Iterator[Row]:
    """All ways for both faces of one pair.

    Raises:
        SystemExit: `fx.explain` and the definition differ.
    """
    found = {n: fx.explain(model, *chips, gradient="signed", norms=n) for n in ESTIMATES}
    z = np.asarray(model.embed(chips), np.float64)
    w = z[0] * z[1] / np.linalg.norm(z[0]) / np.linalg.norm(z[1])
    weights = [w - t / len(w) for t in (model.card.threshold, w.sum())]
    for i, face in enumerate(("probe", "gallery")):
        jacobian = gradients(model, chips[i])
        here = {name: getattr(e, face) for name, e in found.items()}
        specific = {name: getattr(e.pair_specific, face) for name, e in found.items()}
        rows = [
            *signed_rows(here, specific, jacobian, weights),
            *shares_rows(jacobian, np.array(model.card.norms), weights),
            *magnitude_rows(jacobian, weights),
        ]
        ours, defined = (next(r for r in rows if r["way"] == way) for way in ("top", "top 10%"))
        if abs(ours["S"]["cosine"] - defined["S"]["cosine"]) > 1e-5:
            raise SystemExit(f"top has cosine {ours['S']}, by its definition {defined['S']}")
        yield from ({"face": face, **r} for r in rows)


def check_exact(model: fx.FaceModel, chips: np.ndarray) -> None:
    """Hold the library's exact maps to the definition.

    Raises:
        SystemExit: they differ.
    """
    e = fx.explain(model, *chips, gradient="signed")
    jacobian = gradients(model, chips[0])
    true = np.sqrt(np.sum(jacobian.astype(np.float64) ** 2, (1, 2, 3)))
    difference = error(e.probe.q, summed(np.full(len(true), 1 / len(true)) / true, jacobian))
    if difference["l2"] > 1e-4:
        raise SystemExit(f"the exact maps differ from their definition: {difference}")


def seconds(model: fx.FaceModel, pairs: list[np.ndarray]) -> dict[str, float]:
    """The median time of each estimate ÷ that of the exact maps, in turns."""
    taken: dict[str, list[float]] = {name: [] for name in ("exact", *ESTIMATES)}
    for chips in (pairs[0], *pairs):  # the first one compiles
        for name, times in taken.items():
            start = time.perf_counter()
            fx.explain(model, *chips, gradient="signed", norms=name)
            times.append(time.perf_counter() - start)
    medians = {name: float(np.median(times[1:])) for name, times in taken.items()}
    return {name: medians[name] / medians["exact"] for name in ESTIMATES}


def measure(name: str, count: int, cache: Path) -> dict[str, Any]:
    """One model: every way over all pairs and faces."""
    model = fx.load_model(model_file(name))
    data = load(model.card.template, cache)
    rows = []
    chosen = test_pairs(data, count)
    check_exact(model, data.chips[data.pairs[chosen[0]]])
    for done, i in enumerate(chosen, 1):
        about = {"pair": int(i), "same": bool(data.same[i])}
        rows += [{**about, **r} for r in check_pair(model, data.chips[data.pairs[i]])]
        print(f"{name}: {done} of {count} pairs", flush=True)
    timed = [data.chips[data.pairs[i]] for i in chosen[:: max(1, count // TIMED)][:TIMED]]
    ratios = seconds(model, timed)
    lines = [{**line, "ratio": ratios.get(line["way"])} for line in summary(rows)]
    return {"channels": model.dimension, "pairs": len(chosen), "ways": lines}


def summary(rows: list[Row]) -> list[Row]:
    """Each way's errors, over all pairs and faces."""
    lines = []
    for way, vjps in dict.fromkeys((r["way"], r["vjps"]) for r in rows):
        of = [r for r in rows if r["way"] == way]
        line = {"way": way, "vjps": vjps}
        for name in ("S", "S(cos)"):
            found = {k: np.array([r[name][k] for r in of]) for k in of[0][name]}
            line[name] = {k: round(float(v.mean()), 6) for k, v in found.items()}
            line[name]["worst cosine"] = round(float(found["cosine"].min()), 6)
        lines.append(line)
    return lines


HEADER = (
    *("model", "way", "products an image", "cosine, mean", "worst", "relative L2", "Spearman"),
    *("S(cos): cosine", "time ÷ exact"),
)


def render(models: dict[str, Any]) -> str:
    """A line a model and way."""
    lines = []
    for model, found in models.items():
        for r in found["ways"]:
            if r["way"] == f"top {estimates.TOP_SHARE:.0%}":
                continue  # "top" itself
            s, own = r["S"], r["S(cos)"]
            numbers = [f"{s['cosine']:.4f}", f"{s['worst cosine']:.4f}"]
            numbers += [f"{s['l2']:.3f}", f"{s['spearman']:.3f}", f"{own['cosine']:.4f}"]
            ratio = "" if r["ratio"] is None else f"{r['ratio']:.2f}"
            lines.append((model, r["way"], f"{r['vjps']} of {found['channels']}", *numbers, ratio))
    return table(HEADER, lines)


def draw(models: dict[str, Any], path: Path) -> None:
    """Error against cost, a panel a model."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    size = 4 * len(models), 3.6
    figure, axes = plt.subplots(1, len(models), figsize=size, sharey=True, squeeze=False)
    for axis, (name, found) in zip(axes[0], models.items(), strict=True):
        curve = [r for r in found["ways"] if r["way"].endswith("%")]
        costs, errors = [r["vjps"] for r in curve], [1 - r["S"]["cosine"] for r in curve]
        axis.plot(costs, errors, color=GREY, lw=1)
        for r in [*curve, *(r for r in found["ways"] if r not in curve)]:
            point(axis, r, GREY if r in curve else RED if "magnitude" in r["way"] else BLUE)
        axis.set(title=name, xscale="log", yscale="log", xlim=(2, 2 * found["channels"]))
        axis.set_xlabel(f"vector–Jacobian products an image, of {found['channels']}")
        axis.set_ylim(top=8)
        axis.grid(which="major", color="#e6e6e6", lw=0.6)
    axes[0, 0].set_ylabel("1 − cosine to the exact map:\nmean, and a line up to the worst")
    figure.tight_layout()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=130)


def point(axis: Any, way: Row, color: str) -> None:
    """One way's mean error and its worst, with its name."""
    mean, worst = (1 - way["S"][k] for k in ("cosine", "worst cosine"))
    axis.plot([way["vjps"]] * 2, [mean, worst], color=color, lw=1, alpha=0.5)
    axis.plot(way["vjps"], mean, "o", color=color, ms=5)
    if color != GREY:
        below = way["way"] in ("calibrated", "magnitude, and their mean for the others")
        style = {"size": 7, "color": color, "va": "top" if below else "bottom"}
        offset = (5, -1 if below else 1)
        name, at = way["way"].replace(", ", ",\n"), (way["vjps"], mean)
        axis.annotate(name, at, offset, textcoords="offset points", **style)


def main() -> None:
    """Measure all models in reach; a model that is left out keeps its earlier figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--pairs", type=int, default=PAIRS, help="pairs of LFW (%(default)s)")
    add_cache_option(parser)
    options = parser.parse_args()
    path = RESULTS / "fewer_passes.json"
    models = json.loads(path.read_text("utf-8"))["models"] if path.is_file() else {}
    for name in in_reach(options.models):
        models[name] = measure(name, options.pairs, options.cache)
        models = {known: models[known] for known in MODELS if known in models}
        write("fewer_passes", {"models": models}, render(models))
        draw(models, PICTURE)


if __name__ == "__main__":
    main()

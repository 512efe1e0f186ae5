"""Write the figures of documents from benchmarks/results: `python benchmarks/readme.py`."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import MODELS, RESULTS, ROOT, table

MARKS = "<!-- figures: written by benchmarks/readme.py -->", "<!-- end of figures -->"


def load(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"{name}.json").read_text("utf-8"))


def worst(rows: list[dict[str, Any]], model: str, oracle: str) -> str:
    """The largest (1 − cos, relative L2) of P, Q and S, any option, pair and image."""
    found = [
        error
        for row in rows
        if row["model"] == model
        for name, error in row["errors"].get(oracle, {}).items()
        if not name.endswith("S(cos)")
    ]
    return f"{max(e[0] for e in found):.0e}, {max(e[1] for e in found):.0e}"


def flips(rows: list[dict[str, Any]], model: str) -> str:
    """The most kinks of one image that float32 takes otherwise than float64."""
    found = [flip for row in rows if row["model"] == model for flip in row["flips"]]
    return f"{max(f['ours'] for f in found)} of {found[0]['of']:,}"


def accuracy() -> str:
    """Parity and verification, a row a model."""
    parity, verification = load("parity"), load("thresholds")
    rates = {row["model"]: row for row in verification["rows"] if "opencv" not in row}
    header = (
        *("model", "embedding to onnxruntime", "maps to PyTorch", "maps to float64"),
        *("the same on our branches", "flipped kinks", "EER, threshold"),
    )
    rows = []
    for model in MODELS:
        rate = next(r for name, r in rates.items() if name.split(",")[0] == model)
        rows.append(
            (
                model,
                f"{parity['embeddings'][model]['onnxruntime']['max_abs']:.0e}",
                worst(parity["rows"], model, "torch float32"),
                worst(parity["rows"], model, "float64"),
                worst(parity["rows"], model, "float64 on our branches"),
                flips(parity["rows"], model),
                f"{100 * rate['eer']:.2f} %, {rate['threshold']:.4f}",
            )
        )
    return table(header, rows)


def speed() -> str:
    """Seconds a pair, and those of the best of PyTorch's ways."""
    timing = load("timing")
    header = (
        *("model", "ours, s a pair", "PyTorch, s a pair", "its best way", "ratio", "target"),
        *("of the rate", "ours in bfloat16", "ratio", "target", "1 − cos"),
    )
    rows, full = [], timing["rates"]["float32"]
    for model, found in timing["models"].items():
        walls = {name: run["wall"] for name, run in found["medians"].items()}
        ours = walls["explain"]
        best = min(found["parity"], key=lambda way: walls[way])  # PyTorch's ways have errors
        seconds = f"{ours:.2f}", f"{walls[best]:.2f}"
        shares = (f"{200 * found['flops'] / walls[way] / full:.0f} %" for way in ("explain", best))
        exact = *seconds, best, *_ratio(found, walls, best, "explain"), " / ".join(shares)
        half = ("", "", "", "")
        if "bfloat16" in walls:
            off = f"{found['bfloat16']['one_minus_cosine']:.0e}"
            half = f"{walls['bfloat16']:.2f}", *_ratio(found, walls, best, "bfloat16"), off
        rows.append((model, *exact, *half))
    around = timing["environment"]
    note = f"{around['cpu']}, {around['cores']} cores, JAX {around['versions']['jax']}, "
    return f"{table(header, rows)}\n\n{note}PyTorch {around['versions']['torch']}."


def _ratio(found: Any, walls: Any, best: str, kind: str) -> tuple[str, str]:
    """PyTorch's best time by ours, and from which it is good enough."""
    target = found["targets"][kind]
    return f"{walls[best] / walls[kind]:.2f}×", f"≥ {target}×" if target else ""


def timing_options() -> str:
    """What the committed run was asked for, or had come to when it was stopped."""
    timing = load("timing")
    return f"--models {' '.join(timing['models'])} --repeats {timing['repeats']}"


def throughput_options() -> str:
    """What the committed run was asked for."""
    mode = load("throughput")["mode"]
    return " ".join(f"--{name} {mode[name]}" for name in ("images", "photos", "rounds"))


def throughput() -> str:
    """Photographs a second of each way, and its time by that of the model's first way."""
    header = ("photographs", "model", "way", "a second", "time ÷ ours")
    rows = []
    for title, found in load("throughput")["inputs"].items():
        fastest: dict[tuple[str, str], float] = {}
        for way in found["ways"]:  # one that two cores can share in two ways counts once
            key = way["model"], way["name"]
            fastest[key] = min(way["wall"], fastest.get(key, way["wall"]))
        ours: dict[str, float] = {}
        for (model, name), wall in fastest.items():
            ratio = wall / ours.setdefault(model, wall)
            rate = f"{found['images'] / wall:.1f}"
            rows.append((title, model, name, rate, "" if ratio == 1 else f"{ratio:.2f}×"))
    return table(header, rows)


def memory() -> str:
    """Peaks of whole processes, by budget."""
    text = (RESULTS / "memory.md").read_text("utf-8").rpartition("\n\n")[0]
    models = " ".join(dict.fromkeys(row["model"] for row in load("memory")["rows"]))
    return f"""**Memory** (`python benchmarks/memory.py --models {models}`): the peak of a
process that loads a network and explains a pair, imports, weights and compilation included, by
budget (`memory=`).

{text}"""


def partners() -> str:
    """What 1,000 partners cost beside one."""
    rows = []
    for model, found in load("partners")["models"].items():
        ratios = [f"{ratio['median']:.3f}" for ratio in found["ratios"].values()]
        rows.append((f"{model}, N = {found['channels']}", *ratios))
    header = ("the probe's maps", "100 partners ÷ one", "1,000 partners ÷ one")
    found = load("partners")
    options = f"--models {' '.join(found['models'])} --rounds {found['rounds']}"
    return f"""**Many partners** (`python benchmarks/partners.py {options}`):
the time of `fx.explain_one_to_many` with gallery embeddings, by that with one.

{table(header, rows)}"""


def pipeline() -> str:
    """Pairs a second and each stage's share."""
    rows, stages = [], []
    for model, found in load("pipeline")["models"].items():
        stages = list(found["seconds"])
        shares = {name: s / found["wall"] for name, s in found["seconds"].items()}
        cells = [f"{100 * share:.1f} %" for share in shares.values()]
        rows.append((model, found["pairs"], f"{found['pairs'] / found['wall']:.2f}", *cells))
    options = f"--models {' '.join(load('pipeline')['models'])} --pairs {rows[0][1]}"
    return f"""**From files to stored maps** (`python benchmarks/pipeline.py {options}`):
pairs of LFW whose photographs recur, and where the time goes.

{table(("model", "pairs", "a second", *stages), rows)}"""


TITLES = ("JAX", "jax"), ("PyTorch", "torch")


def gpu() -> str:
    """The best of each side for each network and precision."""
    found = load("gpu")
    best: dict[tuple[str, str], dict[str, Any]] = {}
    for row in (row for row in found["rows"] if "seconds" in row):
        sides = best.setdefault((row["model"], row["precision"]), {})
        before = sides.get(row["side"], row)
        each = [r["seconds"] / r["batch"] for r in (row, before)]
        sides[row["side"]] = row if each[0] < each[1] else before
    rows = []
    for (model, precision), sides in best.items():
        ours, torch = sides["ours"], sides["torch"]
        times = [r["seconds"] / r["batch"] for r in (ours, torch)]
        rates = [f"{100 * r['rate_fraction']:.0f} %" for r in (ours, torch)]
        off = [
            f"{r['one_minus_cosine']:.0e}" if "one_minus_cosine" in r else "" for r in (ours, torch)
        ]
        rows.append(
            (
                *(model, precision, f"{1e3 * times[0]:.1f}", f"{1e3 * times[1]:.1f}"),
                *(f"{times[1] / times[0]:.2f}×", " / ".join(rates), " / ".join(filter(None, off))),
            )
        )
    header = (
        *("model", "precision", "ours, ms an image", "PyTorch's best", "ratio"),
        *("of the rate", "1 − cos of the maps"),
    )
    device = found["devices"]["ours"].partition(": ")[2]
    versions = [f"{title} {found['environment']['versions'][name]}" for title, name in TITLES]
    return f"""**On a GPU** (`python benchmarks/gpu.py`, [all ways](benchmarks/results/gpu.md), and
[an earlier engine on an H200](benchmarks/results/gpu-h200.md) with `torch.compile` and others): all
channels of eight images on one {device}, {" and ".join(versions)}; each side's share of the
rate that a large matrix product has, and its maps' error to ours in float32.

{table(header, rows)}"""


def measured(*sections: tuple[str, Callable[[], str]]) -> str:
    """Those sections whose figures have been measured."""
    return "".join(f"\n\n{write()}" for name, write in sections if (RESULTS / name).is_file())


LATER = (
    *(("gpu.json", gpu), ("memory.md", memory)),
    *(("partners.json", partners), ("pipeline.json", pipeline)),
)


def figures() -> str:
    return f"""**Parity** (`python benchmarks/parity.py --quick`): the worst 1 − cos and relative L2
error of P, Q and S, both images, both kinds of gradient, both embeddings. A kink (ReLU, PReLU,
Clip) that rounding flips changes a gradient for good, in PyTorch as here; "on our branches"
holds float64 to the branches that float32 took, so what is left is arithmetic. EER: LFW View 1
(`python benchmarks/thresholds.py`).

{accuracy()}

**Speed** (`python benchmarks/timing.py {timing_options()}`): one pair,
all channels of both images, 2 CPU cores, and the best of PyTorch's ways beside; the ratio says how
many times as long that takes, so that below 1 PyTorch is faster. The rate is that of a large matrix
product, ours and PyTorch's share of it beside each other: where PyTorch has a half of it, plain
multiplication can be twice as fast at the most, and only Winograd's convolutions pass it.
MobileFaceNet has none of these, and its target asks for about the whole rate or more.

{speed()}

**ONNX** (`python benchmarks/conformance.py`): {suite()}.

**From the file to the embedding** (`python benchmarks/throughput.py {throughput_options()}`):
photographs a second on the same cores, beside dlib and OpenCV in C++; below 1 they are faster.

{throughput()}{measured(*LATER)}"""


def photographs() -> str:
    """The table of `fggb verify` for docs/photographs.md."""
    text = (RESULTS / "verification.md").read_text("utf-8")
    return text.partition("\n\n")[0]


def fewer_passes() -> str:
    """Error against cost, and the search for better estimates, for docs/fewer_passes.md."""
    errors, search = (
        (RESULTS / f"{name}.md").read_text("utf-8").rpartition("\n\n")[0]
        for name in ("fewer_passes", "norm_estimators")
    )
    pairs = next(iter(load("fewer_passes")["models"].values()))["pairs"]
    return f"""`python benchmarks/fewer_passes.py`: {pairs} pairs of LFW View 1, half genuine,
both faces of each, S at the card's threshold against the exact map. The faces that the norms were
calibrated on are of other people. Time is the median of a few pairs, forward passes included.

{errors}

**Magnitude stays exact.** Each channel's map is rectified before it is summed, so no single product
gives the sum, and the channels that are left out are missed: the last two ways of each model. Where
the image's own mean map hides that at the threshold, S(cos), particular to the pair, shows it.

**Better estimates were looked for** (`python benchmarks/norm_estimators.py`, same pairs):

{search}"""


def suite() -> str:
    """How much of ONNX's own test suite passes, in a phrase."""
    summary = load("conformance")["summary"]
    jitted = summary["tags_of_passed"]["jit"]
    return (
        f"onnx2jax passes {summary['passed']:,} of the {summary['total']:,} cases of ONNX's own\n"
        f"test suite (onnx {summary['onnx']}), {jitted:,} of them inside `jax.jit`; the others\n"
        "have their reasons in [docs/conformance.md](docs/conformance.md)"
    )


def operators() -> str:
    """The operators of onnx2jax, from its registry."""
    import onnx2jax

    return onnx2jax.registry.table()


def conformance() -> str:
    """What passes of ONNX's own test suite, and why the rest does not."""
    text = (RESULTS / "conformance.md").read_text("utf-8").rpartition("\n\n")[0]
    version = load("conformance")["summary"]["onnx"]
    return f"`python benchmarks/conformance.py`, onnx {version}:\n\n{text}"


def forward() -> str:
    """The forward pass of converted models, and what it takes to get there."""
    found = load("forward")
    text = (RESULTS / "forward.md").read_text("utf-8").rpartition("\n\n")[0]
    around = found["environment"]
    versions = {name: around["versions"][name] for name in ("jax", "onnxruntime", "torch")}
    listed = ", ".join(f"{name} {number}" for name, number in versions.items())
    return (
        f"`python benchmarks/forward.py`, {around['cpu']}, {around['cores']} cores, {listed}. "
        "Ratios above 1 say that ours is faster, errors are relative to onnxruntime's largest "
        f"output:\n\n{text}"
    )


def findings() -> str:
    """Which maps can be trusted."""
    text = (RESULTS / "findings.md").read_text("utf-8").rpartition("\n\n")[0]
    listed = []
    for model, found in load("findings")["models"].items():
        genuine, every = (
            max(row["pairs"] for row in found["scores"][score].values())
            for score in ("similarity_auprc", "deletion_black")
        )
        listed.append(f"{model} {genuine} and {every - genuine}")
    return f"Genuine and impostor pairs that were judged: {'; '.join(listed)}.\n\n{text}"


def updated(document: str, text: str) -> str:
    """A document with its figures as they are now."""
    start, end = MARKS
    pattern = re.escape(start) + ".*?" + re.escape(end)
    return re.sub(pattern, lambda _: f"{start}\n{text}\n{end}", document, flags=re.DOTALL)


DOCUMENTS = {
    "README.md": figures,
    "docs/photographs.md": photographs,
    "docs/fewer_passes.md": fewer_passes,
    "docs/operators.md": operators,
    "docs/conformance.md": conformance,
    "docs/onnx2jax.md": forward,
    "docs/findings.md": findings,
}


if __name__ == "__main__":
    for name, text in DOCUMENTS.items():
        path = Path(ROOT / name)
        path.write_text(updated(path.read_text("utf-8"), text()), "utf-8")

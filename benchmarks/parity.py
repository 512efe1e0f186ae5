"""Embeddings against onnxruntime and dlib, maps against PyTorch and float64, for models in reach.

    python benchmarks/parity.py --quick          # one genuine pair; 4 minutes on two idle cores
    python benchmarks/parity.py                  # an impostor pair too; 5 minutes
    python benchmarks/parity.py --full --lfw 4   # every option for every pair; four pairs of LFW

Exit status 1 where one of these fails:

- embedding: 1 − cos ≤ 1e-6 to onnxruntime and to dlib;
- P, Q, and S at the card's threshold, against float64: 1 − cos ≤ 1e-6 and relative L2 ≤ 1e-3;
- the same and S at the pair's own cosine, S(cos), against PyTorch's float32, unless a flip explains
  it ("flip" in the table);
- all of these against float64 on our branches: 1 − cos ≤ 1e-9 and relative L2 ≤ 1e-4;
- our own program in x64 against PyTorch's float64: relative L2 ≤ 1e-9.

These networks are piecewise smooth. Rounding may put an activation on the other side of its kink,
in our float32 as in PyTorch's: a flip, after which both compute exact gradients of neighbouring
pieces. Flips are counted, against float64. "float64 on our branches" is PyTorch's float64 gradient
of the piece that our float32 is on: it sees errors 1,000 times smaller than a flip.

The float64 loop runs for raw embeddings; for normalized ones its gradients follow by the chain
rule, an independent derivation. Our x64 explains the first channels, since XLA:CPU is slow in it.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
import oracles
import torch
import torch_reference as ref
from common import MODELS, in_reach, model_file, model_proto, table, write
from jax import numpy as jnp
from oracles import Face, Oracle

import fggb_jax as fx
from fggb_jax.attribution.fggb import explain_fggb
from fggb_jax.data import samples

GATE = (1e-6, 1e-3)  # 1 − cos, relative L2
GATE_BRANCHES = (1e-9, 1e-4)
GATE_EMBEDDING, GATE_X64 = 1e-6, 1e-9
X64_CHANNELS = 16
PORTRAITS = (("genuine", "obama_a", "obama_b"), ("impostor", "obama_a", "biden"))
TORCH32, EXACT, BRANCHES = "torch float32", "float64", "float64 on our branches"
Pair = tuple[str, str, str]  # label, probe, gallery
Errors = dict[str, tuple[float, float]]  # a map's name → its distance


def gather(card: fx.Card, options: argparse.Namespace) -> tuple[dict[str, np.ndarray], list[Pair]]:
    """The images by name and the pairs: sample portraits, and LFW's where asked for."""
    pairs: list[Pair] = list(PORTRAITS[:1] if options.quick else PORTRAITS)
    images = {n: samples.chip(n, card) for n in sorted({n for p in pairs for n in p[1:]})}
    for label, (a, chip_a), (b, chip_b) in lfw_pairs(card.template, options):
        images |= {a: chip_a, b: chip_b}
        pairs.append((label, a, b))
    return images, pairs


def lfw_pairs(template: str, options: argparse.Namespace) -> Iterator[tuple[str, Any, Any]]:
    """Pairs spread over LFW View 1, genuine ones first."""
    if not options.lfw:
        return
    from lfw import load

    data = load(template, options.cache)
    usable = np.flatnonzero(data.usable)
    for i in usable[np.linspace(0, len(usable) - 1, options.lfw).astype(int)]:
        label = "lfw genuine" if data.same[i] else "lfw impostor"
        yield label, *((data.names[k], data.chips[k]) for k in data.pairs[i])


# Errors


def distance(u: np.ndarray, v: np.ndarray) -> tuple[float, float]:
    """(1 − cosine, relative L2 error of u) in float64.

    1 − cos as half the squared distance of unit vectors: 1 less a rounded cosine has no digits.
    """
    u, v = np.asarray(u, np.float64).ravel(), np.asarray(v, np.float64).ravel()
    norm_u, norm_v = np.linalg.norm(u), np.linalg.norm(v)
    cosine = 0.5 * np.sum((u / norm_u - v / norm_v) ** 2)
    return float(cosine), float(np.linalg.norm(u - v) / norm_v)


def map_errors(ours: Any, theirs: ref.Pair, threshold: float) -> Errors:
    """Each map's `distance`; ours has `cosine`, `probe` and `gallery`."""
    errors = {}
    for side, u, v in (("probe", ours.probe, theirs.a), ("gallery", ours.gallery, theirs.b)):
        p, q = np.asarray(u.p), np.asarray(u.q)
        t, cosine = (p.dtype.type(float(x)) for x in (threshold, ours.cosine))
        errors[f"{side} P"] = distance(p, v.p)
        errors[f"{side} Q"] = distance(q, v.q)
        errors[f"{side} S"] = distance(p - t * q, v.signed(threshold))
        errors[f"{side} S(cos)"] = distance(p - cosine * q, v.signed(theirs.cosine))
    return errors


def worst(errors: Errors, maps: tuple[str, ...] = ("P", "Q", "S", "S(cos)")) -> list[float]:
    """The largest 1 − cos and the largest relative L2 among some of the maps."""
    chosen = [e for name, e in errors.items() if name.split()[1] in maps]
    return [max(e[i] for e in chosen) for i in (0, 1)]


def within(errors: Errors, gate: tuple[float, float], maps: Any = ("P", "Q", "S", "S(cos)")):
    return all(e <= g for e, g in zip(worst(errors, maps), gate, strict=True))


# The checks


def check_embeddings(name: str, oracle: Oracle) -> dict[str, Any]:
    """Against onnxruntime and, for dlib's network, dlib itself: worst over the images."""
    stack = np.stack(list(oracle.images.values()))
    ours = np.asarray(oracle.model.embed(stack))
    card = oracle.model.card
    others = {"onnxruntime": oracles.onnxruntime_embeddings(oracle.proto, card, stack)}
    if name.startswith("dlib"):
        others["dlib"] = oracles.dlib_embeddings(stack)
    return {
        other: {
            "max_abs": float(np.abs(ours - np.stack(found)).max()),
            "one_minus_cosine": max(distance(u, v)[0] for u, v in zip(ours, found, strict=True)),
        }
        for other, found in others.items()
    }


def reference_faces(oracle: Oracle, branches: Any, flips: Any, few: list[str]) -> dict[Any, Any]:
    """Faces by (reference, embedding), then by name; normalized ones for `few` only."""
    names = list(oracle.images)
    flipped = [n for n in names if flips[n]["ours"]]
    faces = {(TORCH32, "raw"): oracle.faces(names, "float32")}
    faces[TORCH32, "normalized"] = oracle.faces(few, "float32", "normalized")
    exact = faces[EXACT, "raw"] = oracle.faces(names, "float64")
    # Where nothing flipped, our branches are float64's.
    faces[BRANCHES, "raw"] = exact | oracle.faces(flipped, "float64", "raw", branches)
    for reference in (EXACT, BRANCHES):
        raw = faces[reference, "raw"]
        faces[reference, "normalized"] = {n: oracles.by_chain_rule(raw[n]) for n in few}
    return faces


def count_flips(oracle: Oracle, branches: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """For each image the branches that PyTorch's float32 and ours take otherwise than float64."""
    counts = {}
    for name in oracle.images:
        exact = oracle.branches(name, "float64")
        counts[name] = {
            "of": sum(mask.numel() for mask in exact),
            "torch": ref.count_flips(oracle.branches(name, "float32"), exact),
            "ours": ref.count_flips(branches[name], exact),
        }
    return counts


def check_maps(
    oracle: Oracle, pairs: list[Pair], full: bool
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """A row for each pair, embedding and gradient; and our x64.

    All options for the first pair, and for the others the defaults, unless `full`.
    """
    branches = {n: oracles.our_branches(oracle.model, x) for n, x in oracle.images.items()}
    flips = count_flips(oracle, branches)
    few = list(oracle.images) if full else list(pairs[0][1:])
    faces = reference_faces(oracle, branches, flips, few)
    rows = []
    for pair in pairs:
        whole = full or pair == pairs[0]
        for embedding in ("raw", "normalized") if whole else ("raw",):
            for gradient in ("magnitude", "signed") if whole else ("magnitude",):
                row = check_pair(oracle, pair, embedding, gradient, faces)
                rows.append(row | {"flips": [flips[n] for n in pair[1:]]})
    a, b = (faces[EXACT, "raw"][n] for n in pairs[0][1:])
    return rows, check_x64(oracle, pairs[0], a, b)


def check_pair(
    oracle: Oracle, pair: Pair, embedding: str, gradient: str, faces: Mapping[Any, Any]
) -> dict[str, Any]:
    """Ours against each reference; and PyTorch's float32 against float64, for comparison."""
    label, a, b = pair
    theirs = {
        reference: oracles.pair_maps(
            faces[reference, embedding][a], faces[reference, embedding][b], gradient
        )
        for reference in (TORCH32, EXACT, BRANCHES)
    }
    images = oracle.images[a], oracle.images[b]
    ours = fx.explain(oracle.model, *images, gradient=gradient, embedding=embedding)
    t = oracle.model.card.threshold
    plain = theirs[TORCH32]
    plain = fx.PairMaps(plain.cosine, *(fx.FaceMap(m.p, m.q, t) for m in plain[1:]))
    return {
        "model": oracle.model.card.name,
        "pair": label,
        "images": [a, b],
        "embedding": embedding,
        "gradient": gradient,
        "errors": {name: map_errors(ours, found, t) for name, found in theirs.items()},
        "torch_float32_to_float64": map_errors(plain, theirs[EXACT], t),
    }


def check_x64(oracle: Oracle, pair: Pair, a: Face, b: Face) -> dict[str, float]:
    """Our own program in float64 against PyTorch's, for the first channels of one pair."""
    short = [oracles.first_channels(face, X64_CHANNELS) for face in (a, b)]
    theirs = oracles.pair_maps(*short, "magnitude")
    function, card = oracle.model.function, oracle.model.card
    with jax.enable_x64(True):
        params = jax.tree.map(lambda v: jnp.asarray(v, jnp.float64), oracle.model.params)
        model = fx.FaceModel(lambda p, x: function(p, x)[:X64_CHANNELS], params, card)
        images = [jnp.asarray(oracle.image(n, "float64").numpy()) for n in pair[1:]]
        maps = jax.device_get(explain_fggb(model, *images, 0.0))
    if maps.probe.p.dtype != np.float64:
        raise SystemExit(f"x64 gave {maps.probe.p.dtype}")
    return {"relative_l2": worst(map_errors(maps, theirs, card.threshold))[1]}


# Verdicts


def verdict(row: dict[str, Any], reference: str) -> str:
    """Pass, flip where a flip explains what is beyond the gate, or FAIL."""
    errors = row["errors"][reference]
    explained = within(row["errors"][BRANCHES], GATE_BRANCHES) and any(
        f["torch"] or f["ours"] for f in row["flips"]
    )
    if reference == BRANCHES:
        return "pass" if within(errors, GATE_BRANCHES) else "FAIL"
    if within(errors, GATE):
        return "pass"
    promised = reference == EXACT and not within(errors, GATE, ("P", "Q", "S"))
    return "flip" if explained and not promised else "FAIL"


def failures(embeddings: dict[str, Any], rows: list[Any], x64: dict[str, Any]) -> list[str]:
    """What does not pass, one line each."""
    found = [
        f"embedding of {model} against {other}: 1 − cos {error['one_minus_cosine']:.1e}"
        for model, others in embeddings.items()
        for other, error in others.items()
        if not error["one_minus_cosine"] <= GATE_EMBEDDING
    ]
    found += [
        " ".join(row[k] for k in ("model", "pair", "embedding", "gradient")) + f", {reference}"
        for row in rows
        for reference in row["errors"]
        if verdict(row, reference) == "FAIL"
    ]
    return found + [
        f"x64 of {model}: relative L2 {error['relative_l2']:.1e}"
        for model, error in x64.items()
        if not error["relative_l2"] <= GATE_X64
    ]


# The tables


def render(embeddings: dict[str, Any], rows: list[Any], x64: dict[str, Any]) -> str:
    """Embeddings, maps, and our own float64."""
    first = [
        [model, other, f"{e['max_abs']:.1e}", f"{e['one_minus_cosine']:.1e}"]
        for model, others in embeddings.items()
        for other, e in others.items()
    ]
    second = [line for row in rows for line in map_lines(row)]
    third = [[model, f"{e['relative_l2']:.1e}"] for model, e in x64.items()]
    header = ("model", "pair", "embedding", "gradient", "maps against", "1 − cos", "L2")
    return "\n\n".join(
        [
            table(("model", "embedding against", "largest error", "1 − cos"), first),
            "Worst of P, Q and S of both images, S(cos) apart; flips in probe + gallery:",
            table((*header, "S(cos): 1 − cos", "L2", "flips", ""), second),
            f"Our own program in x64 against PyTorch's float64, {X64_CHANNELS} channels:",
            table(("model", "relative L2"), third),
        ]
    )


def map_lines(row: dict[str, Any]) -> Iterator[list[str]]:
    """One line a reference, and one for PyTorch's float32 itself."""
    about = [row[k] for k in ("model", "pair", "embedding", "gradient")]
    ours, torchs = ("+".join(str(f[who]) for f in row["flips"]) for who in ("ours", "torch"))
    lines = [(name, e, ours, verdict(row, name)) for name, e in row["errors"].items()]
    lines.append(("(torch float32 to float64)", row["torch_float32_to_float64"], torchs, ""))
    for name, errors, flips, result in lines:
        numbers = [*worst(errors, ("P", "Q", "S")), *worst(errors, ("S(cos)",))]
        yield [*about, name, *(f"{x:.1e}" for x in numbers), flips, result]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--quick", action="store_true", help="the genuine pair only")
    parser.add_argument("--full", action="store_true", help="all options for all pairs")
    parser.add_argument("--lfw", type=int, default=0, metavar="K", help="K more pairs of LFW")
    cache = f"{tempfile.gettempdir()}/fggb-lfw"
    parser.add_argument("--cache", default=cache, help="folder of LFW's chips (%(default)s)")
    return parser.parse_args()


def main() -> int:
    """Check all models in reach; 1 where a gate fails."""
    options = parse()
    torch.set_num_threads(1)
    embeddings, rows, x64, seconds = {}, [], {}, {}
    for name in in_reach(options.models):
        start = time.monotonic()
        model = fx.load_model(model_file(name))
        images, pairs = gather(model.card, options)
        oracle = Oracle(model, model_proto(model_file(name)), images)
        embeddings[name] = check_embeddings(name, oracle)
        found, x64[name] = check_maps(oracle, pairs, options.full)
        rows += found
        seconds[name] = round(time.monotonic() - start, 1)
        print(f"{name}: {seconds[name]} s", flush=True)
    bad = failures(embeddings, rows, x64)
    mode = {key: getattr(options, key) for key in ("quick", "full", "lfw")}
    record = {"mode": mode, "seconds": seconds, "failures": bad}
    record |= {"embeddings": embeddings, "x64": x64}
    end = "\n".join(["Gates failed:", *bad]) if bad else "No gate failed."
    write("parity", {**record, "rows": rows}, f"{render(embeddings, rows, x64)}\n\n{end}")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())

"""Embeddings against onnxruntime and dlib, maps against PyTorch and float64, for models in reach.

    python benchmarks/parity.py --quick          # one genuine pair; about 2 minutes on two cores
    python benchmarks/parity.py                  # an impostor pair too; about 4 minutes
    python benchmarks/parity.py --full --lfw 4   # "normalized" for every pair; four pairs of LFW

Exit status 1 where a gate fails: embedding cosine ≥ 0.999999 to onnxruntime; for P, Q, S at the
card's threshold and S at the pair's own cosine, 1 − cos ≤ 1e-6 and relative L2 ≤ 1e-3, against the
PyTorch loop in float32 and in float64. Each network is piecewise smooth, so rounding may put an
activation on the other side of its kink; those flips are counted, not forgiven.

The float64 loop runs for raw embeddings; for normalized ones its gradients follow by the chain
rule, J_n = (J − ẑ ẑᵀJ) / ‖z‖, an independent derivation. Our own code in x64 explains the first
channels.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np
import onnx
import torch
import torch_reference as ref
from common import MODELS, in_reach, model_file, model_proto, table, write
from jax import numpy as jnp

import fggb_jax as fx
from fggb_jax.attribution.fggb import explain_fggb
from fggb_jax.data import samples
from onnx2jax import interpreter

GATE_COSINE, GATE_L2, GATE_EMBEDDING = 1e-6, 1e-3, 1e-6
GATE_X64 = 1e-9  # two float64 programs that mean the same
X64_CHANNELS = 16  # XLA:CPU is slow in float64
PORTRAITS = [("genuine", "obama_a", "obama_b"), ("impostor", "obama_a", "biden")]
DTYPES = {"float32": torch.float32, "float64": torch.float64}


class Face(NamedTuple):
    """An embedding (N,) and its channels' gradients (N, H, W, 3), by the PyTorch loop."""

    z: torch.Tensor
    gradients: torch.Tensor


class Case(NamedTuple):
    """A model with the images and pairs to explain."""

    name: str
    model: fx.FaceModel
    proto: onnx.ModelProto
    images: dict[str, np.ndarray]
    pairs: list[tuple[str, str, str]]

    def embedder(self, dtype: str) -> Callable[..., torch.Tensor]:
        return ref.embedder(self.proto, self.model.card.to_dict(), DTYPES[dtype])


def make_case(name: str, options: argparse.Namespace) -> Case:
    """The sample portraits' chips, and LFW's where asked for."""
    model = fx.load_model(model_file(name))
    pairs = PORTRAITS[:1] if options.quick else list(PORTRAITS)
    names = sorted({n for pair in pairs for n in pair[1:]})
    images = {n: samples.chip(n, model.card) for n in names}
    for label, (a, chip_a), (b, chip_b) in lfw_pairs(model.card.template, options):
        images |= {a: chip_a, b: chip_b}
        pairs.append((label, a, b))
    return Case(name, model, model_proto(model_file(name)), images, pairs)


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


def map_errors(ours: Any, theirs: ref.Pair, threshold: float) -> dict[str, tuple[float, float]]:
    """Each map's `distance`; ours has `cosine`, `probe` and `gallery`."""
    errors = {}
    for side, u, v in (("probe", ours.probe, theirs.a), ("gallery", ours.gallery, theirs.b)):
        p, q = np.asarray(u.p), np.asarray(u.q)
        errors[f"{side} P"] = distance(p, v.p)
        errors[f"{side} Q"] = distance(q, v.q)
        t, cosine = (p.dtype.type(float(x)) for x in (threshold, ours.cosine))
        errors[f"{side} S"] = distance(p - t * q, v.signed(threshold))
        errors[f"{side} S(cos)"] = distance(p - cosine * q, v.signed(theirs.cosine))
    return errors


# The PyTorch side


def torch_face(embed: Callable[..., torch.Tensor], image: torch.Tensor, embedding: str) -> Face:
    """All channels' gradients, one backward pass each."""
    x, z = ref.forward(embed, image, embedding)
    return Face(z.detach(), torch.stack(list(ref.channel_gradients(x, z))))


def by_chain_rule(face: Face) -> Face:
    """The gradients of z/‖z‖ from those of z."""
    norm = face.z.norm()
    unit = face.z / norm
    along = torch.tensordot(unit, face.gradients, 1)
    return Face(unit, (face.gradients - unit[:, None, None, None] * along) / norm)


def torch_faces(case: Case, dtype: str, embedding: str, names: list[str]) -> dict[str, Face]:
    """The faces of a case, two Python threads of one torch thread each: fast, and no spinning."""
    embed = case.embedder(dtype)

    def one(name: str) -> Face:
        return torch_face(embed, ref.as_image(case.images[name], DTYPES[dtype]), embedding)

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(names, pool.map(one, names), strict=True))


def torch_pair(a: Face, b: Face, gradient: str) -> ref.Pair:
    """FGGB from the gradients."""
    w = ref.weights(a.z, b.z)
    return ref.Pair(float(w.sum()), *(ref.fold(f.gradients, w, gradient) for f in (a, b)))


# Kinks


def our_branches(model: fx.FaceModel, image: np.ndarray) -> list[torch.Tensor]:
    """The branches of our own float32 program, as `ref.branches` gives PyTorch's.

    Returning every activation changes how XLA fuses, so the count may be off by a few.
    """
    network = model.function.network
    nodes = [n for n in network.graph.nodes if n.op in ref.KINKS]

    @jax.jit
    def activations(params: Any, image: Any) -> Any:
        x = model.card.preprocess(image)[None]
        values = {**network.constants, **params, network.inputs[0].name: x}
        operators, opsets = network.operators, network.graph.opsets
        interpreter.run(network.graph.nodes, operators, opsets, values, network.resolved_target)
        return [[values[name] for name in node.inputs] for node in nodes]

    inputs = activations(model.params, ref.as_image(image).numpy())
    tensors = [[torch.from_numpy(np.array(v)) for v in values] for values in inputs]
    return [ref.kink_mask(n.op, n.attributes, t) for n, t in zip(nodes, tensors, strict=True)]


def flips(case: Case, name: str) -> dict[str, int]:
    """Kinks passed on another side than in float64, by PyTorch's float32 and by ours."""
    image = case.images[name]
    exact = ref.branches(case.embedder("float64"), ref.as_image(image, torch.float64))
    torch32 = ref.branches(case.embedder("float32"), ref.as_image(image))
    return {
        "of": sum(mask.numel() for mask in exact),
        "torch": ref.count_flips(torch32, exact),
        "ours": ref.count_flips(our_branches(case.model, image), exact),
    }


# The checks


def check_embeddings(case: Case) -> dict[str, Any]:
    """Against onnxruntime and, for dlib's network, dlib itself: worst over the images."""
    import onnxruntime

    card = case.model.card
    stack = np.stack(list(case.images.values()))
    ours = np.asarray(case.model.embed(stack))
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 3  # SFace lists its weights as inputs: 174 warnings
    session = onnxruntime.InferenceSession(case.proto.SerializeToString(), quiet)
    entry = session.get_inputs()[0].name
    others = {"onnxruntime": []}
    for image in stack:
        channels = image[..., ::-1] if card.color == "BGR" else image
        x = (channels.astype(np.float32) / 255 * card.range - card.mean) / card.std
        x = x.transpose(2, 0, 1)[None].astype(np.float32)
        others["onnxruntime"].append(session.run(None, {entry: x})[0][0])
    if case.name.startswith("dlib"):
        others["dlib"] = dlib_embeddings(stack)
    return {other: embedding_error(ours, np.stack(found)) for other, found in others.items()}


def dlib_embeddings(stack: np.ndarray) -> list[np.ndarray]:
    """By dlib's own network on the same chips."""
    import dlib

    network = dlib.face_recognition_model_v1(str(model_file("dlib-resnet-v1")))
    return [np.array(network.compute_face_descriptor(chip)) for chip in stack]


def embedding_error(ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    cosine = max(distance(u, v)[0] for u, v in zip(ours, theirs, strict=True))
    return {"max_abs": float(np.abs(ours - theirs).max()), "one_minus_cosine": cosine}


def check_x64(case: Case, faces: dict[str, Face]) -> dict[str, Any]:
    """Our own program in float64 against PyTorch's, for the first channels of one pair."""
    _, a, b = case.pairs[0]
    short = [Face(faces[n].z[:X64_CHANNELS], faces[n].gradients[:X64_CHANNELS]) for n in (a, b)]
    theirs = torch_pair(*short, "magnitude")
    function = case.model.function
    with jax.enable_x64(True):
        params = jax.tree.map(lambda v: jnp.asarray(v, jnp.float64), case.model.params)
        model = fx.FaceModel(lambda p, x: function(p, x)[:X64_CHANNELS], params, case.model.card)
        images = [jnp.asarray(ref.as_image(case.images[n]).double().numpy()) for n in (a, b)]
        maps = jax.device_get(explain_fggb(model, *images, 0.0))
    errors = map_errors(maps, theirs, case.model.card.threshold)
    return {"dtype": str(maps.probe.p.dtype), **worst(errors)}


def worst(errors: dict[str, tuple[float, float]]) -> dict[str, float]:
    cosine, l2 = (max(e[i] for e in errors.values()) for i in (0, 1))
    return {"one_minus_cosine": cosine, "relative_l2": l2}


def check_maps(case: Case, full: bool) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A row for each pair, embedding, gradient and reference; and the x64 check."""
    everything = list(case.images)
    counts = {name: flips(case, name) for name in everything}
    faces = {(d, "raw"): torch_faces(case, d, "raw", everything) for d in DTYPES}
    chosen = everything if full else list(case.pairs[0][1:])
    faces["float32", "normalized"] = torch_faces(case, "float32", "normalized", chosen)
    exact = faces["float64", "raw"]
    faces["float64", "normalized"] = {n: by_chain_rule(exact[n]) for n in chosen}
    rows = []
    for pair in case.pairs:
        for embedding in ("raw", "normalized"):
            if not set(pair[1:]) <= faces["float64", embedding].keys():
                continue
            for gradient in ("magnitude", "signed"):
                rows += check_pair(case, pair, embedding, gradient, faces)
        for row in rows:
            row.setdefault("flips", {n: counts[n] for n in pair[1:]})
    return rows, check_x64(case, exact)


def check_pair(
    case: Case, pair: tuple[str, str, str], embedding: str, gradient: str, faces: Any
) -> list[dict[str, Any]]:
    """Ours against both references; and float32 PyTorch against float64, for comparison."""
    label, a, b = pair
    theirs = {
        d: torch_pair(faces[d, embedding][a], faces[d, embedding][b], gradient) for d in DTYPES
    }
    ours = fx.explain(
        case.model, case.images[a], case.images[b], gradient=gradient, embedding=embedding
    )
    f32 = theirs["float32"]
    plain = fx.PairMaps(f32.cosine, *(fx.FaceMap(m.p, m.q, 0.0) for m in (f32.a, f32.b)))
    t = case.model.card.threshold
    compared = {
        "torch float32": map_errors(ours, theirs["float32"], t),
        "float64": map_errors(ours, theirs["float64"], t),
        "(torch float32 to float64)": map_errors(plain, theirs["float64"], t),
    }
    about = {"model": case.name, "pair": label, "images": [a, b]}
    about |= {"embedding": embedding, "gradient": gradient}
    return [
        {**about, "against": name, "gated": "(" not in name, **worst(errors), "maps": errors}
        for name, errors in compared.items()
    ]


def passes(row: dict[str, Any]) -> bool:
    return row["one_minus_cosine"] <= GATE_COSINE and row["relative_l2"] <= GATE_L2


def failures(embeddings: dict[str, Any], rows: list[Any], x64: dict[str, Any]) -> list[str]:
    """What does not pass, one line each."""
    found = [
        f"embedding of {model} against {other}: 1 − cos {error['one_minus_cosine']:.1e}"
        for model, others in embeddings.items()
        for other, error in others.items()
        if not error["one_minus_cosine"] <= GATE_EMBEDDING
    ]
    for r in rows:
        if r["gated"] and not passes(r):
            bad = {k: v for k, v in r["maps"].items() if v[0] > GATE_COSINE or v[1] > GATE_L2}
            what = " ".join(r[k] for k in ("model", "pair", "embedding", "gradient"))
            found.append(f"{what} against {r['against']}: {bad}, flips {r['flips']}")
    found += [
        f"x64 of {model}: relative L2 {error['relative_l2']:.1e}"
        for model, error in x64.items()
        if not error["relative_l2"] <= GATE_X64
    ]
    return found


# The tables


def render(embeddings: dict[str, Any], rows: list[Any], x64: dict[str, Any]) -> str:
    """Embeddings, maps, and our own float64."""
    first = [
        [model, other, f"{e['max_abs']:.1e}", f"{e['one_minus_cosine']:.1e}"]
        for model, others in embeddings.items()
        for other, e in others.items()
    ]
    second = [
        [
            *(r[k] for k in ("model", "pair", "embedding", "gradient", "against")),
            f"{r['one_minus_cosine']:.1e}",
            f"{r['relative_l2']:.1e}",
            "+".join(str(f["torch"]) for f in r["flips"].values()),
            "+".join(str(f["ours"]) for f in r["flips"].values()),
            ("pass" if passes(r) else "FAIL") if r["gated"] else "",
        ]
        for r in rows
    ]
    third = [[model, e["dtype"], f"{e['relative_l2']:.1e}"] for model, e in x64.items()]
    header = ("model", "pair", "embedding", "gradient", "maps against", "1 − cos", "relative L2")
    return "\n\n".join(
        [
            table(("model", "embedding against", "largest error", "1 − cos"), first),
            "Worst of P, Q, S and S(cos) of both images; kinks that float32 takes otherwise than "
            "float64, in either image:",
            table((*header, "flips torch", "flips ours", ""), second),
            f"Our own program in x64 against PyTorch's float64, {X64_CHANNELS} channels:",
            table(("model", "dtype", "relative L2"), third),
        ]
    )


def parse() -> argparse.Namespace:
    from tempfile import gettempdir

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--quick", action="store_true", help="the genuine pair only")
    parser.add_argument("--full", action="store_true", help="normalized embeddings for all pairs")
    parser.add_argument("--lfw", type=int, default=0, metavar="K", help="K more pairs of LFW")
    parser.add_argument("--cache", default=f"{gettempdir()}/fggb-lfw", help="folder of LFW's chips")
    return parser.parse_args()


def main() -> int:
    """Check all models in reach; 1 where a gate fails."""
    options = parse()
    torch.set_num_threads(1)
    embeddings, rows, x64, seconds = {}, [], {}, {}
    for name in in_reach(options.models):
        start = time.monotonic()
        case = make_case(name, options)
        embeddings[name] = check_embeddings(case)
        found, x64[name] = check_maps(case, options.full)
        rows += found
        seconds[name] = round(time.monotonic() - start, 1)
        print(f"{name}: {seconds[name]} s", flush=True)
    bad = failures(embeddings, rows, x64)
    record = {"seconds": seconds, "failures": bad, "embeddings": embeddings, "x64": x64}
    verdict = "\n".join(["Gates failed:", *bad]) if bad else "All gates passed."
    write("parity", {**record, "rows": rows}, f"{render(embeddings, rows, x64)}\n\n{verdict}")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())

"""Thresholds at the equal error rate on LFW View 1, for the cards; and SFace's colour order.

    python benchmarks/thresholds.py      # about 3 minutes, and once 2 minutes for the chips

Midpoint rule: as t rises the share of impostors accepted (cosine ≥ t) falls and that of genuine
pairs rejected (cosine < t) rises, both in steps. t is the middle of the interval between scores in
which the two differ least; the EER is the mean of the two there. SFace is measured with its
channels in both orders, and compared with OpenCV's own FaceRecognizerSF on the same chips.
"""

import argparse
import dataclasses
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from common import MODELS, in_reach, model_file, table, write
from lfw import DETECTORS, Lfw, add_cache_option, load
from sklearn.metrics import roc_auc_score, roc_curve

import fggb_jax as fx

BATCH = 32


def embed(model: fx.FaceModel, chips: np.ndarray) -> np.ndarray:
    """(K, N) embeddings, in batches of one size: the last one is padded, so jit traces once."""
    found = []
    for start in range(0, len(chips), BATCH):
        batch = chips[start : start + BATCH]
        padding = [(0, BATCH - len(batch)), (0, 0), (0, 0), (0, 0)]
        found.append(np.asarray(model.embed(np.pad(batch, padding)))[: len(batch)])
    return np.concatenate(found)


def cosines(embeddings: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """(P,) cosines of the pairs, in float64."""
    unit = embeddings.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    return np.sum(unit[pairs[:, 0]] * unit[pairs[:, 1]], axis=1)


def equal_error(scores: np.ndarray, same: np.ndarray) -> tuple[float, float]:
    """(EER, threshold) by the midpoint rule."""
    genuine, impostor = np.sort(scores[same]), np.sort(scores[~same])
    edges = np.unique(scores)
    middles = (edges[:-1] + edges[1:]) / 2
    accepted = 1 - np.searchsorted(impostor, middles) / len(impostor)
    rejected = np.searchsorted(genuine, middles) / len(genuine)
    gap = np.abs(accepted - rejected)
    best = np.flatnonzero(gap <= gap.min() + 1e-12)  # one interval, or two that touch
    threshold = (edges[best[0]] + edges[best[-1] + 1]) / 2
    return float(np.mean((accepted + rejected)[best]) / 2), float(threshold)


def area(scores: np.ndarray, same: np.ndarray) -> float:
    """The share of (genuine, impostor) couples that are ordered rightly; ties count half."""
    impostor = np.sort(scores[~same])
    below = np.searchsorted(impostor, scores[same], "left")
    upto = np.searchsorted(impostor, scores[same], "right")
    return float(np.mean(below + upto) / (2 * len(impostor)))


def cross_check(scores: np.ndarray, same: np.ndarray, eer: float, auc: float) -> None:
    """The same figures by scikit-learn.

    Raises:
        SystemExit: they differ.
    """
    false_accepts, true_accepts, _ = roc_curve(same, scores, drop_intermediate=False)
    best = np.argmin(np.abs(false_accepts - (1 - true_accepts)))
    other = (false_accepts[best] + 1 - true_accepts[best]) / 2
    # Where two steps are equally good the rules may take different ones, half a pair apart.
    step = 1 / min(same.sum(), (~same).sum())
    if abs(other - eer) > step / 2 + 1e-12 or abs(roc_auc_score(same, scores) - auc) > 1e-12:
        raise SystemExit(f"scikit-learn disagrees: EER {other} against {eer}, AUC against {auc}")


def measure(name: str, embeddings: np.ndarray, data: Lfw) -> dict[str, Any]:
    """One row of the table."""
    scores, same = cosines(embeddings, data.pairs[data.usable]), data.same[data.usable]
    (eer, threshold), auc = equal_error(scores, same), area(scores, same)
    cross_check(scores, same, eer, auc)
    return {
        "model": name,
        "eer": eer,
        "threshold": threshold,
        "auc": auc,
        "accuracy": float(np.mean((scores >= threshold) == same)),
        "genuine_mean": float(scores[same].mean()),
        "impostor_mean": float(scores[~same].mean()),
        "pairs": len(scores),
        "dropped": int((~data.usable).sum()),
    }


def opencv_embeddings(chips: np.ndarray) -> np.ndarray:
    """SFace by OpenCV itself; it takes BGR images, as OpenCV reads them."""
    recognizer = cv2.FaceRecognizerSF.create(str(model_file("sface")), "")
    features = [recognizer.feature(np.ascontiguousarray(chip[..., ::-1])) for chip in chips]
    return np.concatenate(features)


def agreement(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """How far two sets of embeddings agree."""
    cosine = np.sum(a * b, axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return {"max_abs": float(np.abs(a - b).max()), "min_cosine": float(cosine.min())}


def sface_colors(model: fx.FaceModel, data: Lfw) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows for both channel orders and for OpenCV, and their agreement with OpenCV."""
    opencv = opencv_embeddings(data.chips)
    rows, agreements = [], {}
    for color in ("RGB", "BGR"):
        card = dataclasses.replace(model.card, color=color)
        ours = embed(fx.FaceModel(model.function, model.params, card), data.chips)
        rows.append(measure(f"sface, card's color {color}", ours, data))
        agreements[color] = agreement(ours[data.found], opencv[data.found])
    rows.append(measure("sface, by cv2.FaceRecognizerSF", opencv, data))
    return rows, agreements


def render(rows: Sequence[dict[str, Any]], agreements: dict[str, Any]) -> str:
    """The table and what follows from it about SFace."""
    header = (
        "model",
        "EER",
        "threshold",
        "AUC",
        "accuracy",
        "genuine",
        "impostor",
        "pairs",
        "dropped",
    )
    text = table(
        header,
        [
            [
                r["model"],
                f"{100 * r['eer']:.2f} %",
                f"{r['threshold']:.4f}",
                f"{r['auc']:.5f}",
                f"{100 * r['accuracy']:.2f} %",
                f"{r['genuine_mean']:.3f}",
                f"{r['impostor_mean']:.3f}",
                r["pairs"],
                r["dropped"],
            ]
            for r in rows
        ],
    )
    lines = [
        f"sface with color {color} against cv2.FaceRecognizerSF: largest difference "
        f"{a['max_abs']:.1e}, least cosine {a['min_cosine']:.7f}"
        for color, a in agreements.items()
    ]
    return "\n".join([text, "", *lines])


def main() -> None:
    """Measure all models in reach."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    add_cache_option(parser)
    options = parser.parse_args()
    rows, agreements = [], {}
    for name in in_reach(options.models):
        model = fx.load_model(model_file(name))
        data = load(model.card.template, options.cache)
        if name == "sface":
            more, agreements = sface_colors(model, data)
            rows += more
        else:
            rows.append(measure(name, embed(model, data.chips), data))
        print(f"{name}: {rows[-1]['pairs']} pairs measured", flush=True)
    record = {"rule": __doc__, "detectors": DETECTORS, "rows": rows, "opencv": agreements}
    write("thresholds", record, render(rows, agreements))


if __name__ == "__main__":
    main()

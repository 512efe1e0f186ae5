"""Is there a better estimate of the channels' norms? Ideas, tried on Gram matrices of gradients.

    python benchmarks/norm_estimators.py         # about 15 minutes on two idle cores, then seconds

The pairs are those of benchmarks/fewer_passes.py, the calibration is that of benchmarks/norms.py:
other people. The signed map at the card's threshold is compared with the exact one. A product of a
vector and the Jacobian costs about as much forwards (JVP) as backwards (VJP), so both count as one;
P and Q take two.

- deflation: the Gram matrix of the gradients on r directions, the leading ones over the calibration
  faces, exact by r VJPs, the rest as calibrated.
- embedding: a ridge regression of the log norms on the embedding, which costs nothing.
- Hutchinson: ⟨J_k, x⟩² over m images x of white noise, or of blurred noise in the card's
  proportions; "shrunk" mixes it with the calibrated norms by the weight that is best on them.
- top, ...: a tenth of the channels exact. "by deviation" picks those of largest |u_k| times what
  the norm varies; "others predicted" corrects the others by what the exact ones say, through the
  covariance of log norms over the calibration faces; "with the embedding" does so after the
  regression.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import gradients
import numpy as np
from common import in_reach, model_file, table, write
from lfw import add_cache_option, calibration_images, load, test_pairs
from norms import IMAGES, PAIRS

import fggb_jax as fx
from fggb_jax.attribution.norms import top_count

KNOWN = ("dlib-resnet-v1", "mobilefacenet")
RIDGES = 10.0 ** np.arange(-2, 5)


class Face(NamedTuple):
    """One image of a pair.

    Attributes:
        gram: (N, N), ⟨J_k, J_l⟩.
        embedding: (N,).
        weights: (N,), w − t/N.
        white: (PROBES, N), ⟨J_k, x⟩.
        blurred: (PROBES, N).
    """

    gram: np.ndarray
    embedding: np.ndarray
    weights: np.ndarray
    white: np.ndarray
    blurred: np.ndarray

    @property
    def true(self) -> np.ndarray:
        """(N,) the norms."""
        return np.sqrt(np.diag(self.gram))


Estimator = Callable[[Face], np.ndarray]


class Known:
    """What calibration faces teach: means, covariance, directions, regressions."""

    def __init__(self, grams: gradients.Grams) -> None:
        self.grams = grams
        true = np.sqrt(np.diagonal(grams.gradients, axis1=1, axis2=2))
        self.true, self.mean = true, true.mean(0)
        logs = np.log(true / self.mean)
        # Proportions: what all channels have in common is the image's, not the channel's.
        self.logs = logs - logs.mean(1, keepdims=True)
        self.deviation = self.logs.std(0)
        self.covariance = shrunk_covariance(self.logs)
        unit = grams.gradients / self.mean[:, None] / self.mean
        unit /= np.trace(unit, axis1=1, axis2=2)[:, None, None]
        self.directions = np.linalg.eigh(unit.mean(0))[1][:, ::-1]
        self.center, self.slopes = ridge(unit_rows(grams.embeddings), self.logs)
        predicted = (unit_rows(grams.embeddings) - self.center) @ self.slopes
        self.left = shrunk_covariance(self.logs - predicted)

    def regression(self, face: Face) -> np.ndarray:
        """(N,) the norms' proportions by the embedding."""
        features = unit_rows(face.embedding[None])[0] - self.center
        return self.mean * np.exp(features @ self.slopes)


def unit_rows(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def ridge(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(mean of x, slopes), the penalty being the best of `RIDGES` when each row is left out."""
    center = x.mean(0)
    gram = (x - center) @ (x - center).T
    best = None
    for penalty in RIDGES * np.trace(gram) / len(x):
        inverse = np.linalg.inv(gram + penalty * np.eye(len(x)))
        left_out = inverse @ y / np.diag(inverse)[:, None]
        if best is None or np.mean(left_out**2) < best[0]:
            best = np.mean(left_out**2), inverse
    assert best is not None
    return center, (x - center).T @ (best[1] @ y)


def shrunk_covariance(x: np.ndarray) -> np.ndarray:
    """Ledoit and Wolf's (2004), in their closed form."""
    from sklearn.covariance import ledoit_wolf

    return ledoit_wolf(x)[0]


# Estimators


def sized(shape: np.ndarray, face: Face) -> np.ndarray:
    """As the library: the common size by the two halves of Q."""
    count = len(shape)
    halves = np.arange(count) % 2 == np.array([[0], [1]])
    probes = np.einsum("hk,kl,hl->", halves / shape, face.gram, halves / shape)
    return shape * np.sqrt(probes / count)


def deflated(known: Known, rank: int) -> Estimator:
    """A part of the Gram matrix exact, the rest as calibrated."""
    mean, u = known.mean, known.directions[:, :rank]

    def part(gram: np.ndarray) -> np.ndarray:
        inner = u.T @ (gram / mean[:, None] / mean) @ u
        return np.einsum("kr,rs,ks->k", u, inner, u)

    parts = np.array([part(gram) for gram in known.grams.gradients])
    rest = (known.true / mean) ** 2 - parts
    # The rest grows with the part: one factor for both.
    factor = rest.mean(0) / parts.sum(1).mean()

    def estimate(face: Face) -> np.ndarray:
        found = part(face.gram)
        return mean * np.sqrt(np.maximum(found + factor * found.sum(), 1e-12))

    return estimate


def hutchinson(known: Known, kind: str, count: int, shrunk: bool) -> Estimator:
    """Directional derivatives, alone or mixed with the calibrated norms."""

    def raw(probes: np.ndarray) -> np.ndarray:
        return np.sqrt(np.mean(probes[:count] ** 2, axis=0))

    calibration = np.array([raw(p) for p in getattr(known.grams, kind)])
    # Blurred noise sees another norm: its mean proportions are the calibration's.
    factor = known.mean / calibration.mean(0) if kind == "blurred" else 1.0
    logs = np.log(calibration * factor / known.mean)
    logs -= logs.mean(1, keepdims=True)
    weight = float(np.sum(logs * known.logs) / np.sum(logs**2)) if shrunk else 1.0

    def estimate(face: Face) -> np.ndarray:
        found = raw(getattr(face, kind)) * factor
        if not shrunk:
            return found
        size = np.exp(np.mean(np.log(found / known.mean)))
        return known.mean * size * (found / known.mean / size) ** weight

    return estimate


def top(known: Known, predict: str = "", by_deviation: bool = False) -> Estimator:
    """A tenth of the norms exact; the others in proportion, or predicted from those."""

    def estimate(face: Face) -> np.ndarray:
        shape = known.regression(face) if predict == "embedding" else known.mean
        weight = np.abs(face.weights / shape) * (known.deviation if by_deviation else 1)
        order = np.argsort(-weight)
        count = top_count(len(order))
        heavy, others = order[:count], order[count:]
        ratios = face.true[heavy] / shape[heavy]
        size = np.sqrt(np.mean(ratios**2))
        found = shape * size
        if predict:
            covariance = known.left if predict == "embedding" else known.covariance
            slopes = np.linalg.solve(covariance[np.ix_(heavy, heavy)], np.log(ratios / size))
            found[others] *= np.exp(covariance[np.ix_(others, heavy)] @ slopes)
        found[heavy] = face.true[heavy]
        return found

    return estimate


def estimators(known: Known) -> list[tuple[str, int, Estimator]]:
    """(name, products an image, estimator)."""
    count = len(known.mean)
    tenth = top_count(count) + 2
    found: list[tuple[str, int, Estimator]] = [
        ("equal", 3, lambda face: sized(np.ones(count), face)),
        ("calibrated", 3, lambda face: sized(known.mean, face)),
        ("embedding", 3, lambda face: sized(known.regression(face), face)),
    ]
    found += [(f"deflation, {r} directions", r + 2, deflated(known, r)) for r in (4, 8, 13, 32)]
    for kind in ("white", "blurred"):
        for m in (13, 64):
            found.append((f"Hutchinson, {m} {kind}", m + 2, hutchinson(known, kind, m, False)))
            name = f"Hutchinson, {m} {kind}, shrunk"
            found.append((name, m + 2, hutchinson(known, kind, m, True)))
    return [
        *found,
        ("top", tenth, top(known)),
        ("top, by deviation", tenth, top(known, by_deviation=True)),
        ("top, others predicted", tenth, top(known, "exact")),
        ("top, others predicted, with the embedding", tenth, top(known, "embedding")),
    ]


# Judging them


def error(signed: np.ndarray, weights: np.ndarray, true: np.ndarray, found: np.ndarray) -> Any:
    """(cosine, relative L2 error) of the maps, from the Gram matrix of RGB averages."""
    exact, ours = weights / true, weights / found
    a, b, c = exact @ signed @ exact, ours @ signed @ ours, exact @ signed @ ours
    difference = (exact - ours) @ signed @ (exact - ours)
    return c / np.sqrt(a * b), np.sqrt(difference / a)


def measure(name: str, cache: Path) -> list[dict[str, Any]]:
    """One model's estimators."""
    model = fx.load_model(model_file(name))
    data = load(model.card.template, cache)
    pairs = test_pairs(data, PAIRS)
    chosen = calibration_images(data, pairs, IMAGES)
    known = Known(gradients.load(model, data, chosen, cache))
    found = gradients.load(model, data, data.pairs[pairs].ravel(), cache)
    z = unit_rows(found.embeddings)
    w = np.repeat(z[::2] * z[1::2], 2, axis=0)
    weights = w - model.card.threshold / w.shape[1]
    rows = []
    for title, products, estimate in estimators(known):
        errors = []
        for i, c in enumerate(weights):
            face = Face(
                found.gradients[i], found.embeddings[i], c, found.white[i], found.blurred[i]
            )
            errors.append(error(found.signed[i], c, face.true, estimate(face)))
        cosine, l2 = np.array(errors).T
        rows.append(
            {
                "model": name,
                "estimate": title,
                "products": products,
                "cosine": round(float(cosine.mean()), 6),
                "worst": round(float(cosine.min()), 6),
                "l2": round(float(l2.mean()), 6),
            }
        )
    return rows


def render(rows: list[dict[str, Any]]) -> str:
    """A line an estimate, the models side by side."""
    models = list(dict.fromkeys(r["model"] for r in rows))
    header = ["estimate", "products an image"]
    for model in models:
        header += [f"{model}: cosine", "worst", "relative L2"]
    lines = []
    for estimate in dict.fromkeys(r["estimate"] for r in rows):
        of = [r for r in rows if r["estimate"] == estimate]
        line = [estimate, of[0]["products"]]
        for r in of:
            line += [f"{r['cosine']:.4f}", f"{r['worst']:.4f}", f"{r['l2']:.3f}"]
        lines.append(line)
    return table(header, lines)


def main() -> None:
    """Try every estimator on the models in reach."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=KNOWN, default=KNOWN)
    add_cache_option(parser)
    options = parser.parse_args()
    rows = [row for name in in_reach(options.models) for row in measure(name, options.cache)]
    write("norm_estimators", {"rows": rows}, render(rows))


if __name__ == "__main__":
    main()

"""Draw the pictures of docs/findings.md: `python benchmarks/findings_pictures.py`.

1. From benchmarks/results/findings.json: how well each method finds a region that was replaced.
2. From the sample portraits, since LFW's photographs are not ours to show: one such face, and what
   some methods say of it, the region outlined.
"""

import json
from typing import Any

import numpy as np
from common import RESULTS, ROOT
from matplotlib.figure import Figure
from method_pictures import strip
from PIL import Image

import fggb_jax as fx
from fggb_jax.data import samples
from fggb_jax.evaluation.composites import composite
from fggb_jax.evaluation.judgement import Case
from fggb_jax.report.colors import beneath, panels
from fggb_jax.report.colors import composite as overlaid

OUT = ROOT / "docs" / "images" / "findings"
QUESTIONS = {"dissimilarity_auprc": "where it differs", "similarity_auprc": "where it agrees"}
COLORS = ("#1f5f99", "#c2571a", "#2f7d5b")
SEED = 5  # of the region: it should cover features, here an eye and the nose
SHOWN = ("fggb", "gradient", "gradcam", "occlusion", "half_hidden")
OUTLINE = (20, 160, 60)


def dots(found: dict[str, Any]) -> Figure:
    """A row a method, a dot with its interval for each recognizer."""
    models = found["models"]
    figure = Figure(figsize=(9.5, 6.4), layout="constrained")
    for ax, (score, title) in zip(
        figure.subplots(1, 2, sharey=True), QUESTIONS.items(), strict=True
    ):
        every = {m: one["scores"][score] for m, one in models.items()}
        names = [n for n in next(iter(every.values())) if all(n in rows for rows in every.values())]
        mean = {n: np.mean([rows[n]["mean"] for rows in every.values()]) for n in names}
        if ax.get_subplotspec().is_first_col():
            order = sorted(names, key=mean.__getitem__)
        for i, (model, rows) in enumerate(every.items()):
            center, low, high = (
                np.array([rows[n][key] for n in order]) for key in ("mean", "low", "high")
            )
            y = np.arange(len(order)) + 0.2 * (1 - i)
            error = (center - low, high - center)
            ax.errorbar(center, y, xerr=error, fmt="o", ms=4, lw=1, color=COLORS[i], label=model)
        ax.set_yticks(range(len(order)), order)
        ax.set_title(title, loc="left")
        ax.grid(axis="y", alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("AUPRC of the region that was replaced, with 95 % intervals", fontsize=10)
    figure.legend(
        *ax.get_legend_handles_labels(), loc="outside upper right", ncols=3, frameon=False
    )
    return figure


def example() -> Image.Image:
    """One replaced region; a line for each question, a map for each method."""
    model = fx.load_model()
    a, b, other = (samples.chip(n, model.card) / np.float32(255) for n in samples.NAMES)
    case = Case(model, a, b, True, model.card.threshold, other[None], (a + b + other) / 3, SEED)
    made = composite(case)
    edge = outline(made.region)
    rows = []
    for partner, who in ((b, "the same person"), (other, "the stranger")):
        tiles = [marked(eight_bits(made.image), edge), eight_bits(partner)]
        for name in SHOWN:
            options = {"forwards": 64} if name == "occlusion" else {}
            e = fx.explain(model, made.image, partner, method=name, **options)
            overlay = panels(e)["signed"]["probe"].overlay()
            tiles.append(marked(overlaid(beneath(e, "probe"), overlay), edge))
        rows.append(strip(tiles, ("probe", who, *SHOWN)))
    return Image.fromarray(np.concatenate([np.asarray(row) for row in rows]))


def eight_bits(image: np.ndarray) -> np.ndarray:
    return (image * 255).round().astype(np.uint8)


def marked(picture: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """A picture with the outline of the region."""
    return np.where(edge[..., None], np.uint8(OUTLINE), picture)


def outline(region: np.ndarray) -> np.ndarray:
    """The pixels of a region that have a neighbour outside of it."""
    padded = np.pad(region, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return region & ~inner


def main() -> None:
    """Draw both."""
    OUT.mkdir(parents=True, exist_ok=True)
    example().quantize(64).save(OUT / "example.png", optimize=True)
    found = json.loads((RESULTS / "findings.json").read_text("utf-8"))
    dots(found).savefig(OUT / "ground_truth.png", dpi=110)


if __name__ == "__main__":
    main()

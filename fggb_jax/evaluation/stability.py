"""Stability: a change of the probe that nobody would see should not change its map.

Spearman's ρ of the signed map before and after

- noise: Gaussian, σ = 2/255, on each pixel and channel;
- shift: by one pixel, the map shifted back and the pixels at the edge left out;
- jpeg: JPEG at quality 90.

Alvarez-Melis and Jaakkola, "On the Robustness of Interpretability Methods", arXiv 1806.08049, 2018,
look for the worst change near an image; these are changes that images undergo. What never changes
is stable as well: read this beside `specificity` and `sanity`.
"""

from __future__ import annotations

import io

import numpy as np
from jaxtyping import Float
from PIL import Image

from fggb_jax.evaluation.correlation import spearman
from fggb_jax.evaluation.judgement import Case, Explainer, Scores, judge

NOISE = 2 / 255
QUALITY = 90
_DIRECTIONS = ((0, 1), (0, -1), (1, 0), (-1, 0))


@judge("stability", "Stability", {"noise": "higher", "shift": "higher", "jpeg": "higher"})
def stability(case: Case, explain: Explainer) -> Scores:
    """Whether the map stays when the probe changes imperceptibly; four explanations.

    Returns:
        `noise`, `shift` and `jpeg`: rank correlations in [−1, 1]; NaN where a map is constant.
    """
    rng = case.rng("stability")
    noisy = case.probe + NOISE * rng.standard_normal(case.probe.shape, np.float32)
    step = _DIRECTIONS[rng.integers(len(_DIRECTIONS))]
    before = explain(case.probe, case.gallery).signed

    def after(probe: np.ndarray) -> np.ndarray:
        return explain(probe, case.gallery).signed

    back = shifted(after(shifted(case.probe, step)), (-step[0], -step[1]))
    return {
        "noise": spearman(before, after(noisy.clip(0, 1).astype(np.float32))),
        "shift": spearman(before[1:-1, 1:-1], back[1:-1, 1:-1]),
        "jpeg": spearman(before, after(compressed(case.probe))),
    }


def shifted(
    values: Float[np.ndarray, "H W *C"], step: tuple[int, int]
) -> Float[np.ndarray, "H W *C"]:
    """An image or map moved by whole pixels (down, right), the pixels at its edge repeated."""
    y, x = (
        np.clip(np.arange(n) - by, 0, n - 1) for n, by in zip(values.shape[:2], step, strict=True)
    )
    return values[y][:, x]


def compressed(
    image: Float[np.ndarray, "H W 3"], quality: int = QUALITY
) -> Float[np.ndarray, "H W 3"]:
    """A face in [0, 1] as it comes out of a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(np.rint(image.clip(0, 1) * 255).astype(np.uint8)).save(
        file, "JPEG", quality=quality
    )
    with Image.open(file) as opened:
        return np.asarray(opened, np.float32) / np.float32(255)

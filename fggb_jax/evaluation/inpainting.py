"""The inpainting game: do the pixels that a map marks make one person into another?

Williford, May, Byrne, "Explainable Face Recognition" (XFR), arXiv 2008.00916, ECCV 2020, and its
public code. Of a genuine pair, probe A and mate B, a region of both is inpainted: A′ and B′ show a
person who differs in the region alone, the inpainted non-mate. A map of A says where A differs from
this person. The pixels over a threshold, set so that the map's largest values make up some share of
its mass, are swapped from A to A′, and the mixed face is classified as the non-mate where it is
nearer to B′ than to B:

    P(f) = P(classified as the non-mate),  f = pixels swapped outside of the region ÷ all outside.

A map that marks the region turns the face into the non-mate at few false alarms. Sets of growing
mass are the first pixels of the map's order, more and more of them (pixels of value 0 last, which
the paper's code too includes): at f the most pixels are swapped that make no more false alarms.

What is done differently from XFR:

- No network inpaints. The region comes from another person, the same for A and B, by Poisson
  cloning (`blending.seamless`); so the non-mate has a real person's eyes, nose or mouth.
- XFR explains the triplet (A, B, B′). Here methods explain pairs: the map is the dissimilarity map
  of A against the non-mate B′.
- As in XFR a game is played only where the network can tell its outcome: where it takes A for the
  mate and A′ for the non-mate. The first of six regions in random order for which it does is
  played; where there is none the scores are NaN. So they are for impostor pairs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from fggb_jax.attribution.comparison import unit
from fggb_jax.evaluation.blending import seamless
from fggb_jax.evaluation.judgement import Better, Case, Explainer, Scores, embedded, judge
from fggb_jax.evaluation.once import once
from fggb_jax.evaluation.ranking import prefixes, ranked
from fggb_jax.faces.templates import ArcFace, Dlib

NAME = "inpainting"
FALSE_ALARMS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)

# Ellipses: centre (x, y) and half axes, x in distances of the eyes from the left one in the image,
# y in distances of the mouth from the eyes.
REGIONS = {
    "left eye": ((0.0, -0.1), (0.45, 0.35)),
    "right eye": ((1.0, -0.1), (0.45, 0.35)),
    "eyes": ((0.5, -0.1), (1.0, 0.35)),
    "nose": ((0.5, 0.45), (0.36, 0.42)),
    "mouth": ((0.5, 1.0), (0.62, 0.33)),
    "lower face": ((0.5, 1.1), (0.95, 0.5)),
}

SCORES: dict[str, Better] = {
    "nonmate_at_1_percent": "higher",
    "nonmate_at_5_percent": "higher",
    "empty": "lower",
}
CURVES = {"nonmate_curve": ("false alarms", FALSE_ALARMS)}


class Game(NamedTuple):
    """A game that can be played.

    Attributes:
        region: (H, W) bool, what was inpainted.
        twin: (H, W, 3) A′, the probe as the non-mate.
        nonmate: (H, W, 3) B′, the gallery image as the non-mate.
        mates: (2, N) unit embeddings of B and B′.
    """

    region: np.ndarray
    twin: np.ndarray
    nonmate: np.ndarray
    mates: np.ndarray


@judge(NAME, "Inpainting game", SCORES, CURVES)
def inpainting(case: Case, explain: Explainer) -> Scores:
    """Whether the mixed face is taken for the non-mate, 0 or 100 %, at 1 and 5 % false alarms."""
    game = once(case, NAME, lambda: game_of(case)) if case.same else None
    if game is None:
        return _scores(None, np.nan)
    order = ranked(explain(case.probe, game.nonmate).dissimilarity)
    if order is None:
        return _scores(None, 1.0)
    height, width = game.region.shape
    swapped = prefixes(order, swaps(order, game.region), (height, width))
    mixed = np.where(swapped[..., None], game.twin, case.probe)
    return _scores(_taken_for_the_nonmate(case.model, mixed, game.mates), 0.0)


def swaps(order: np.ndarray, region: Bool[np.ndarray, "H W"]) -> list[int]:
    """How many of the first pixels are swapped at each of `FALSE_ALARMS`: as many as it allows."""
    alarms = np.cumsum(~region.ravel()[order])
    allowed = [np.floor(rate * alarms[-1] + 1e-9) for rate in FALSE_ALARMS]
    return np.searchsorted(alarms, allowed, side="right").tolist()


def game_of(case: Case) -> Game | None:
    """The game of a genuine pair: a region with which the network can tell its outcome, or None."""
    regions = list(region_masks(case.model.card).values())
    regions = [regions[i] for i in case.rng(NAME).permutation(len(regions))]
    other = case.others[0]
    twins = np.stack([seamless(case.probe, other, region) for region in regions])
    nonmates = np.stack([seamless(case.gallery, other, region) for region in regions])
    faces = np.concatenate([case.probe[None], case.gallery[None], twins, nonmates])
    z = unit(embedded(case.model, faces).astype(np.float64))
    a, b, rest = z[0], z[1], z[2:].reshape(2, len(regions), -1)
    for i, (a_twin, b_twin) in enumerate(zip(*rest, strict=True)):
        if a @ b > a @ b_twin and a_twin @ b_twin > a_twin @ b:
            return Game(regions[i], twins[i], nonmates[i], np.stack([b, b_twin]))
    return None


def region_masks(card: Any) -> dict[str, Bool[np.ndarray, "H W"]]:
    """`REGIONS` in an aligned face; the face is taken to lie as in "arcface-112" or "dlib-150".

    Args:
        card: of the model; a template that is neither of these is taken for the first.
    """
    eye, across, down = _frame(card)
    y, x = np.mgrid[: card.size[0], : card.size[1]]
    u, v = (x - eye[0]) / across, (y - eye[1]) / down
    return {
        name: ((u - centre[0]) / half[0]) ** 2 + ((v - centre[1]) / half[1]) ** 2 <= 1
        for name, (centre, half) in REGIONS.items()
    }


def _frame(card: Any) -> tuple[np.ndarray, float, float]:
    """The left eye in the image, how far the right eye is to its right, and the mouth below."""
    if card.template == Dlib.name:
        place = dict(zip(Dlib.USED_68, Dlib.POINTS_68, strict=True))
        rings = (range(36, 42), range(42, 48), (48,), (54,))
        points = np.array([np.mean([place[i] for i in ring], axis=0) for ring in rings])
        points = (Dlib.PADDING + points) / (2 * Dlib.PADDING + 1) * np.array(card.size[::-1])
    else:
        points = ArcFace().points(card.size)[[0, 1, 3, 4]]
    eyes, mouth = points[:2].mean(0), points[2:].mean(0)
    return points[0], float(points[1, 0] - points[0, 0]), float(mouth[1] - eyes[1])


def _taken_for_the_nonmate(model: Any, faces: np.ndarray, mates: np.ndarray) -> np.ndarray:
    cosines = unit(embedded(model, faces).astype(np.float64)) @ mates.T
    return cosines[:, 1] > cosines[:, 0]


def _scores(taken: np.ndarray | None, empty: float) -> Scores:
    curve = np.full(len(FALSE_ALARMS), np.nan) if taken is None else taken.astype(np.float64)
    at = dict(zip(FALSE_ALARMS, curve.tolist(), strict=True))
    return {
        "nonmate_at_1_percent": 100 * at[0.01],
        "nonmate_at_5_percent": 100 * at[0.05],
        "empty": empty,
        "nonmate_curve": curve.tolist(),
    }

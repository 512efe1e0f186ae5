"""The pairs that methods are judged on: read, aligned, and handed to judges one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from fggb_jax.attribution.comparison import unit
from fggb_jax.attribution.embedding_pass import Progress
from fggb_jax.data.pair_list import PairList
from fggb_jax.errors import ImageError, OptionError
from fggb_jax.evaluation import judgement
from fggb_jax.evaluation.judgement import Case
from fggb_jax.evaluation.rates import calibrate
from fggb_jax.evaluation.scoring import ToFace, aligned
from fggb_jax.explain import threshold_of
from fggb_jax.models.card import Card

OTHERS = 4  # faces of other persons that a case has


@dataclass(frozen=True, eq=False)
class Study:
    """The pairs that methods are judged on, with the recognizer that they explain.

    Attributes:
        model: a `FaceModel` or a `BlackBox`.
        faces: (K, H, W, 3) aligned faces.
        pairs: (P, 2) indices of the probe and the gallery image.
        same: (P,) whether a pair is genuine.
        threshold: the cosine from which a pair is accepted.
        names: (P,) what messages call a pair.
        seed: of what judges draw at random.
    """

    model: Any
    faces: UInt8[np.ndarray, "K H W 3"]
    pairs: Int[np.ndarray, "P 2"]
    same: Bool[np.ndarray, " P"]
    threshold: float
    names: Sequence[str]
    seed: int = 0

    @cached_property
    def embeddings(self) -> Float[np.ndarray, "K N"]:
        """Of all faces, of length 1."""
        return unit(judgement.embedded(self.model, self.faces))

    @cached_property
    def cosines(self) -> Float[np.ndarray, " P"]:
        """Of all pairs."""
        return np.sum(self.embeddings[self.pairs[:, 0]] * self.embeddings[self.pairs[:, 1]], axis=1)

    @cached_property
    def mean_face(self) -> Float[np.ndarray, "H W 3"]:
        """Of all faces."""
        total = np.zeros(self.faces.shape[1:], np.float64)
        for face in self.faces:
            total += face
        return (total / (255 * len(self.faces))).astype(np.float32)

    def case(self, pair: int) -> Case:
        """A pair as judges are given it."""
        probe, gallery = self.pairs[pair]
        return Case(
            model=self.model,
            probe=_floats(self.faces[probe]),
            gallery=_floats(self.faces[gallery]),
            same=bool(self.same[pair]),
            threshold=self.threshold,
            others=_floats(self.faces[self._others(pair)]),
            mean_face=self.mean_face,
            seed=(self.seed, pair),
        )

    def _others(self, pair: int) -> list[int]:
        """Faces that the model itself takes for other persons than both of the pair's.

        Pair lists do not name persons; should there be too few, the least alike come first. The
        pair's own two images are never among them.

        Raises:
            OptionError: there is no third face.
        """
        likeness = (self.embeddings @ self.embeddings[self.pairs[pair]].T).max(1)
        order = np.random.default_rng([self.seed, pair, OTHERS]).permutation(len(self.faces))
        strangers = [int(i) for i in order if likeness[i] < self.threshold]
        alike = [int(i) for i in np.argsort(likeness, kind="stable")]
        own = set(self.pairs[pair].tolist())
        found = [i for i in dict.fromkeys(strangers + alike) if i not in own]
        if not found:
            raise OptionError(
                "an evaluation needs faces of other persons than a pair's: give pairs with at "
                "least 3 faces in all"
            )
        return found[:OTHERS]


def read_study(
    model: Any,
    listed: PairList,
    to_face: ToFace,
    threshold: float | str,
    *,
    limit: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Study, dict[str, str], str]:
    """Read and align what is asked about.

    Args:
        model: the recognizer.
        listed: labelled pairs.
        to_face: as of `scoring.score`.
        threshold: a cosine, or "auto": the card's, else that of the equal error rate of these
            pairs.
        limit: at most so many pairs, half of them genuine, spread over the list.
        seed: of what judges draw.
        progress: called as progress(done, total) with counts of images.

    Returns:
        The study; image → why it is left out, with its pairs; where the threshold comes from.

    Raises:
        ImageError: no pair is left.
    """
    assert listed.same is not None  # the caller's to check
    picked = _picked(listed.same, limit)
    wanted = list(dict.fromkeys(listed.pairs[picked].ravel().tolist()))
    chips: dict[int, np.ndarray] = {}
    errors: dict[str, str] = {}
    for done, (i, found) in enumerate(aligned([(i, listed.images[i]) for i in wanted], to_face), 1):
        if isinstance(found, ImageError):
            errors[listed.images[i].name] = str(found)
        else:
            chips[i] = found
        if progress is not None:
            progress(done, len(wanted))
    left = [p for p in picked if all(int(i) in chips for i in listed.pairs[p])]
    if not left:
        raise ImageError("no pair is left whose two faces can be used")
    place = {i: k for k, i in enumerate(chips)}
    made = Study(
        model=model,
        faces=np.stack(list(chips.values())),
        pairs=np.array([[place[int(i)] for i in listed.pairs[p]] for p in left]),
        same=listed.same[left],
        threshold=math.nan,
        names=[listed.name(p) for p in left],
        seed=seed,
    )
    value, source = _threshold(made, threshold, model.card)
    return replace(made, threshold=value), errors, source


def _picked(same: np.ndarray, limit: int | None) -> list[int]:
    """Which pairs: of each kind half of the limit, evenly spread, in the list's order."""
    if limit is None or limit >= len(same):
        return list(range(len(same)))
    genuine, impostor = np.flatnonzero(same), np.flatnonzero(~same)
    first = min(max(limit // 2, limit - len(impostor)), len(genuine))
    parts = [
        kind[np.arange(count) * len(kind) // max(count, 1)]
        for kind, count in ((genuine, first), (impostor, min(limit - first, len(impostor))))
    ]
    return sorted(int(i) for part in parts for i in part)


def _threshold(study: Study, threshold: float | str, card: Card) -> tuple[float, str]:
    if threshold != "auto" or card.threshold is not None:
        return threshold_of(threshold, card)
    return calibrate(study.cosines, study.same, data="the pairs of this very evaluation")


def _floats(face: np.ndarray) -> np.ndarray:
    return face.astype(np.float32) / np.float32(255)

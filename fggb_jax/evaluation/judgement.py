"""How maps are judged: what a judge is given of a pair, and the judges by name.

A judge scores one method's map of one pair. It is given the pair (`Case`) and the method
(`Explainer`), and returns numbers and curves of this pair alone, so that means over pairs, their
intervals and paired tests are made in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
from jaxtyping import Float

from fggb_jax.attribution.comparison import unit
from fggb_jax.attribution.embedding_pass import embed_many
from fggb_jax.errors import OptionError

Scores = Mapping[str, float | Sequence[float]]  # NaN where a score makes no sense for this pair
Better = Literal["higher", "lower"]


@dataclass(frozen=True, eq=False)
class Reading:
    """A map as it is judged: where the image speaks for the match, and where against it.

    Attributes:
        similarity: (H, W) ≥ 0.
        dissimilarity: (H, W) ≥ 0. A method that only says how much a pixel matters has the same map
            for both.
    """

    similarity: Float[np.ndarray, "H W"]
    dissimilarity: Float[np.ndarray, "H W"]

    @property
    def signed(self) -> Float[np.ndarray, "H W"]:
        """What speaks for the match less what speaks against it.

        Where both are the same map, that of a method without a sign, this map: it is no empty one.
        """
        if np.array_equal(self.similarity, self.dissimilarity):
            return self.similarity
        return self.similarity - self.dissimilarity


class Explainer(Protocol):
    """A method with its options: (probe, gallery) → the reading of the probe's map.

    Images are (H, W, 3) float32 in [0, 1]. `model` explains another model than the case's.
    """

    def __call__(self, probe: np.ndarray, gallery: np.ndarray, model: Any = None) -> Reading: ...


@dataclass(frozen=True, eq=False)
class Case:
    """A pair that maps are judged on.

    Attributes:
        model: a `FaceModel` or a `BlackBox`.
        probe: (H, W, 3) float32 RGB in [0, 1], aligned; its map is judged, and it alone is changed.
        gallery: likewise.
        same: whether the pair is genuine.
        threshold: the cosine from which a pair is accepted.
        others: (K, H, W, 3) faces of other persons than these two, K ≥ 1.
        mean_face: (H, W, 3) of the data set.
        seed: of what is drawn at random for this pair, one number or several: the same for all
            methods.
    """

    model: Any
    probe: Float[np.ndarray, "H W 3"]
    gallery: Float[np.ndarray, "H W 3"]
    same: bool
    threshold: float
    others: Float[np.ndarray, "K H W 3"]
    mean_face: Float[np.ndarray, "H W 3"]
    seed: int | tuple[int, ...] = 0

    def rng(self, judge: str) -> np.random.Generator:
        """Random numbers of a judge for this pair: the same for all methods."""
        seed = self.seed if isinstance(self.seed, tuple) else (self.seed,)
        return np.random.default_rng([*seed, *judge.encode()])

    def cosines(
        self, images: Float[np.ndarray, "B H W 3"], partner: np.ndarray | None = None
    ) -> Float[np.ndarray, " B"]:
        """The cosine of changed probes to the gallery image, or to another partner's image."""
        target = self._gallery if partner is None else self._embedded(partner[None])[0]
        return self._embedded(images) @ target

    @cached_property
    def _gallery(self) -> Float[np.ndarray, " N"]:
        return self._embedded(self.gallery[None])[0]

    def _embedded(self, images: Float[np.ndarray, "B H W 3"]) -> Float[np.ndarray, "B N"]:
        return unit(embedded(self.model, images).astype(np.float64))


def embedded(model: Any, images: Float[np.ndarray, "B H W 3"]) -> Float[np.ndarray, "B N"]:
    """Embed any number of images, one or more, as many at once as the model's device likes."""
    return embed_many(model, len(images), lambda part: images[part], prepared=True)


@dataclass(frozen=True)
class Judge:
    """A named judgement.

    Attributes:
        name: what users type.
        title: one line for a table.
        judge: (`Case`, `Explainer`) → `Scores`, flat; lists are curves.
        scores: the numbers that a table shows, each with which way is better.
        curves: the lists that are drawn, each with what its horizontal axis is, as values.
        prepare: (`Case`, `Explainer`s) → None, where what `judge` needs of all methods' maps is
            had sooner at once: called before it, and keeps what it finds by `once`.
        quoted: what others have published by it, in words: it is shown below a table.
    """

    name: str
    title: str
    judge: Callable[[Case, Explainer], Scores]
    scores: Mapping[str, Better]
    curves: Mapping[str, tuple[str, Sequence[float]]]
    prepare: Callable[[Case, Sequence[Explainer]], None] | None = None
    quoted: str = ""


_JUDGES: dict[str, Judge] = {}


def judge(
    name: str,
    title: str,
    scores: Mapping[str, Better],
    curves: Mapping[str, tuple[str, Sequence[float]]] | None = None,
    prepare: Callable[[Case, Sequence[Explainer]], None] | None = None,
    quoted: str = "",
) -> Callable[[Callable[[Case, Explainer], Scores]], Callable[[Case, Explainer], Scores]]:
    """Register a judge."""

    def register(
        function: Callable[[Case, Explainer], Scores],
    ) -> Callable[[Case, Explainer], Scores]:
        if name in _JUDGES:
            raise ValueError(f"judge {name!r} is registered twice")
        _JUDGES[name] = Judge(
            name, title, function, dict(scores), dict(curves or {}), prepare, quoted
        )
        return function

    return register


def judges() -> list[str]:
    """The names of all judges."""
    return sorted(_JUDGES)


def find(name: str) -> Judge:
    """A judge by name.

    Raises:
        OptionError: there is none of that name.
    """
    if name not in _JUDGES:
        raise OptionError(f"no metric {name!r}; choose some of {', '.join(judges())}")
    return _JUDGES[name]

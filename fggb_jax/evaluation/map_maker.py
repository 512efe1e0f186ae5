"""The probe's map of a pair by any method, computed once for all that judge it."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from fggb_jax.attribution import norms
from fggb_jax.attribution.comparison import Comparison
from fggb_jax.attribution.maps import FaceMap
from fggb_jax.errors import ModelError
from fggb_jax.evaluation.judgement import Explainer, Reading
from fggb_jax.evaluation.method_spec import MethodSpec
from fggb_jax.evaluation.remembered import Remembered, digest
from fggb_jax.evaluation.walked import Walks, of_walk
from fggb_jax.explain import Request

REMEMBERED = 256  # maps; of one pair all methods', and what a judge changes of it for each


@dataclass(frozen=True, eq=False)
class Made:
    """A map and what it took.

    Attributes:
        face: the probe's map.
        cosine: of the pair.
        seconds: from images to map. A walk or an embedding that another map has needed before is
            counted as if it had been made for this one alone; so is how images are looked up.
        forwards: images that were embedded, beyond the pair's cosine.
        backwards: cotangents that were pulled back.
    """

    face: FaceMap
    cosine: float
    seconds: float
    forwards: int
    backwards: int


class MapMaker:
    """Explains probes; the gallery image's map is not computed.

    Args:
        model: a `FaceModel` or a `BlackBox`.
        threshold: the cosine from which a pair is accepted.
        memory: a budget in bytes for each method.
    """

    def __init__(self, model: Any, threshold: float, memory: int | None = None) -> None:
        self.model, self.threshold, self.memory = model, threshold, memory
        self._made: OrderedDict[Any, Made] = OrderedDict()
        self._requests: dict[Any, tuple[Any, Request]] = {}
        self._walks, self._embedded = Walks(memory), Remembered()

    def explainer(self, spec: MethodSpec) -> Explainer:
        """The method as judges call it."""

        def explain(probe: np.ndarray, gallery: np.ndarray, model: Any = None) -> Reading:
            made = self.make(spec, probe, gallery, model)
            return spec.reading(made.face, made.cosine)

        return explain

    def make(
        self, spec: MethodSpec, probe: np.ndarray, gallery: np.ndarray, model: Any = None
    ) -> Made:
        """The map, remembered for a while.

        Args:
            spec: the method.
            probe: (H, W, 3) float32 in [0, 1].
            gallery: likewise.
            model: in place of the maker's.

        Raises:
            ModelError: the map is not finite.
            OptionError: an option of the method makes no sense for this model or image.
        """
        model = self.model if model is None else model
        method = (spec.method, spec.options, id(model))
        key = (*method, digest(probe), digest(gallery))
        if key in self._made:
            self._made.move_to_end(key)
            return self._made[key]
        made = self._explain(method, spec, probe, gallery, model)
        if not np.isfinite(np.asarray(made.face.signed)).all():
            raise ModelError(f"the map of {spec.text} is not finite")
        self._made[key] = made
        if len(self._made) > REMEMBERED:
            self._made.popitem(last=False)
        return made

    def _explain(
        self, key: Any, spec: MethodSpec, probe: np.ndarray, gallery: np.ndarray, model: Any
    ) -> Made:
        asked = self._asked(key, spec, model)
        start, saved = time.perf_counter(), self._saved
        with asked.settings():
            found = _probe_map(asked, self._walks, self._embedded, probe, gallery)
            face, cosine, forwards, backwards = found
            face = FaceMap(np.asarray(face.p), np.asarray(face.q), np.asarray(face.threshold))
        seconds = time.perf_counter() - start + self._saved - saved
        return Made(face, cosine, seconds, forwards, backwards)

    @property
    def _saved(self) -> float:
        """Seconds that walks and embeddings would have taken which were remembered."""
        return self._walks.saved + self._embedded.saved

    def _asked(self, key: Any, spec: MethodSpec, model: Any) -> Request:
        """The request of a method, checked once; the model with it, so that its id stays its."""
        if key not in self._requests:
            options = dict(spec.options)
            asked = Request.of(model, spec.method, self.threshold, "highest", self.memory, options)
            self._requests[key] = (model, asked)
        return self._requests[key][1]


def _probe_map(
    asked: Request, walks: Walks, embed: Any, probe: np.ndarray, gallery: np.ndarray
) -> tuple[FaceMap, float, int, int]:
    """The probe's map, the cosine, and how many passes there and back it took."""
    if (sums := of_walk(asked.method.name, asked.options)) is not None:
        face, cosine = walks.face_map(asked.model, sums, probe, gallery, asked.threshold, embed)
        return face, cosine, 1, asked.model.dimension
    image, partner = (jnp.asarray(x, jnp.float32) for x in (probe, gallery))
    if asked.method.face is not None:
        pair = np.stack([probe, gallery])
        z = embed(asked.model, 2, lambda part: pair[part], memory=asked.memory)
        shared = {"memory": asked.memory, "embed_all": embed, "prepared": True, "embeddings": z}
        c = Comparison(asked.model, image, partner, asked.threshold, **shared)
        face = asked.method.map_of(c, asked.options)
        return face, c.cosine, c.forwards, c.backwards
    maps = asked.explain(image, partner)
    return maps.probe, float(maps.cosine), 1, _passes(asked)


def _passes(asked: Request) -> int:
    """Of FGGB with estimated norms, the one method that is neither."""
    return norms.passes(asked.options["norms"], asked.model.dimension)

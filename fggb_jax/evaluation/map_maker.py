"""The probe's map of a pair by any method, computed once for all that judge it."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from fggb_jax.attribution import norms
from fggb_jax.attribution.by_image import explain_probe
from fggb_jax.attribution.comparison import Comparison
from fggb_jax.attribution.maps import FaceMap
from fggb_jax.errors import ModelError
from fggb_jax.evaluation.judgement import Explainer, Reading
from fggb_jax.evaluation.method_spec import MethodSpec
from fggb_jax.explain import Request

REMEMBERED = 64  # maps; of one pair all methods, and what judges change of it


@dataclass(frozen=True, eq=False)
class Made:
    """A map and what it took.

    Attributes:
        face: the probe's map.
        cosine: of the pair.
        seconds: from images to map.
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
        self._requests: dict[Any, tuple[Any, Request, Any]] = {}

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

        Raises:
            ModelError: the map is not finite.
            OptionError: an option of the method makes no sense for this model or image.
        """
        model = self.model if model is None else model
        method = (spec.method, spec.options, id(model))
        key = (*method, probe.tobytes(), gallery.tobytes())
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
        _, asked, walker = self._asked(key, spec, model)
        start = time.perf_counter()
        with asked.settings():
            face, cosine, forwards, backwards = _probe_map(asked, walker, probe, gallery)
            face = FaceMap(np.asarray(face.p), np.asarray(face.q), np.asarray(face.threshold))
        return Made(face, cosine, time.perf_counter() - start, forwards, backwards)

    def _asked(self, key: Any, spec: MethodSpec, model: Any) -> tuple[Any, Request, Any]:
        """The request of a method, checked once; the model with it, so that its id stays its."""
        if key not in self._requests:
            options = dict(spec.options)
            asked = Request.of(model, spec.method, self.threshold, "highest", self.memory, options)
            walker = None if asked.walker is None else asked.made_walker()
            self._requests[key] = (model, asked, walker)
        return self._requests[key]


def _probe_map(
    asked: Request, walker: Any, probe: np.ndarray, gallery: np.ndarray
) -> tuple[FaceMap, float, int, int]:
    """The probe's map, the cosine, and how many passes there and back it took."""
    threshold = np.asarray(asked.threshold, np.float32)
    if walker is not None:
        (partner,) = walker.embed(gallery[None])
        cosine, p, q = explain_probe(walker, probe, np.asarray(partner)[None])
        return FaceMap(p[0], q, threshold), float(cosine[0]), 1, asked.model.dimension
    image, partner = (jnp.asarray(x, jnp.float32) for x in (probe, gallery))
    if asked.method.face is not None:
        c = Comparison(asked.model, image, partner, asked.threshold, memory=asked.memory)
        face = asked.method.map_of(c, asked.options)
        return face, c.cosine, c.forwards, c.backwards
    maps = asked.explain(image, partner)
    return maps.probe, float(maps.cosine), 1, _passes(asked)


def _passes(asked: Request) -> int:
    """Of FGGB with estimated norms, the one method that is neither."""
    return norms.passes(asked.options["norms"], asked.model.dimension)

"""FGGB's normalised maps of an image's channels, walked once for all that is summed of them.

They depend on the image alone: its maps for several partners and its mean map are sums of the same
ones. An embedding has few enough channels that a judge's images can wait for each other.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from fggb_jax.attribution.fggb import check, coefficients
from fggb_jax.attribution.maps import FaceMap
from fggb_jax.attribution.memory import limits
from fggb_jax.attribution.norms import is_exact
from fggb_jax.attribution.walk import embedded_channels
from fggb_jax.evaluation.remembered import digest

SHARE = 1 / 4  # of the memory budget, for maps that wait


@dataclass(frozen=True, eq=False)
class Walked:
    """An image whose channels were walked.

    Attributes:
        embedding: (N,) of the image.
        maps: (N, H, W), the channels' normalised maps Ĝ.
        seconds: that the walk took.
    """

    embedding: Float[np.ndarray, " N"]
    maps: Float[np.ndarray, "N H W"]
    seconds: float


class Walks:
    """Walks of images, remembered for a while.

    Args:
        memory: a budget in bytes; that of `limits` where None.

    Attributes:
        saved: seconds that walks would have taken which were remembered.
    """

    def __init__(self, memory: int | None = None) -> None:
        self.memory, self.saved = memory, 0.0
        self._walked: OrderedDict[Any, Walked] = OrderedDict()

    def face_map(
        self,
        model: Any,
        method: Mapping[str, Any],
        probe: Any,
        gallery: Any,
        threshold: float,
        embed: Callable[..., Any],
    ) -> tuple[FaceMap, float]:
        """The probe's map and the cosine, as `fggb` and `image_mean` have them.

        Args:
            model: a `FaceModel`, whose id is not given to another one as long as this lives.
            method: what `of_walk` returns.
            probe: (H, W, 3) float32 in [0, 1].
            gallery: likewise.
            threshold: t.
            embed: what is called as `embed_many` is, for the gallery image.
        """
        walked = self._of(model, probe, method["gradient"], method["embedding"])
        z = embed(model, 1, lambda part: gallery[None][part], memory=self.memory)[0]
        rows, cosine = coefficients(jnp.asarray(walked.embedding), jnp.asarray(z))
        maps = walked.maps.reshape(len(walked.maps), -1)
        p, q = (np.asarray(rows) @ maps).reshape(2, *probe.shape[:2])
        if method["mean"]:
            p = q * np.float32(cosine)
        return FaceMap(p, q, np.asarray(threshold, np.float32)), float(cosine)

    def _of(self, model: Any, image: np.ndarray, gradient: Any, embedding: Any) -> Walked:
        key = (id(model), gradient, embedding, digest(image))
        if key in self._walked:
            self._walked.move_to_end(key)
            self.saved += self._walked[key].seconds
            return self._walked[key]
        start = time.perf_counter()
        found = embedded_channels(
            model, jnp.asarray(image), embedding, gradient, memory=self.memory
        )
        z, maps = map(np.asarray, found)
        walked = Walked(z, maps, time.perf_counter() - start)
        self._walked[key] = walked
        budget = limits().budget if self.memory is None else self.memory
        while len(self._walked) > 1 and len(self._walked) * maps.nbytes > SHARE * budget:
            self._walked.popitem(last=False)
        return walked


def of_walk(name: str, options: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What a method sums of a walk: gradient, embedding, and whether it is the mean alone.

    None where it does not walk all channels of an image.

    Raises:
        OptionError: an option of `fggb` that does not exist.
    """
    if name == "image_mean":
        return {"gradient": "magnitude", "embedding": "raw", "mean": True}
    if name != "fggb" or not is_exact(options["norms"]):
        return None
    check(options["gradient"], options["embedding"], options["norms"])
    return {"gradient": options["gradient"], "embedding": options["embedding"], "mean": False}

"""Embeddings that were computed before are not computed again.

Judges ask about the same changed image for several partners, and most methods that hide parts of it
hide the same ones whoever the partner is.
"""

from __future__ import annotations

import hashlib
import time
from typing import Any

import numpy as np
from jaxtyping import Float

from fggb_jax.attribution.embedding_pass import Make, Progress, embed_many, parts

KEPT = 4096  # embeddings; all are forgotten then
AT_ONCE = 64  # images that are looked up


class Remembered:
    """`embed_many`, with a memory of images that it has seen.

    Attributes:
        saved: seconds that embeddings would have taken which were remembered, each the least that
            one of the model's has taken: the first ones have to wait for compilers.
    """

    def __init__(self) -> None:
        self.saved = 0.0
        self._known: dict[Any, Float[np.ndarray, " N"]] = {}
        self._least: dict[int, float] = {}  # a model's id → seconds an image

    def __call__(
        self,
        model: Any,
        count: int,
        make: Make,
        *,
        progress: Progress | None = None,
        **how: Any,
    ) -> Float[np.ndarray, "K N"]:
        """As `embed_many`; a model's id must not be given to another one as long as this lives."""
        found = []
        for part in parts(count, AT_ONCE, progress):
            images = np.asarray(make(part))
            keys = [(id(model), digest(image)) for image in images]
            new = {key: i for i, key in enumerate(keys) if key not in self._known}
            if new:
                wanted = images if len(new) == len(images) else images[list(new.values())]
                start = time.perf_counter()
                z = embed_many(model, len(wanted), lambda part, x=wanted: x[part], **how)
                each = (time.perf_counter() - start) / len(wanted)
                self._least[id(model)] = min(each, self._least.get(id(model), each))
                self._known.update(zip(new, z, strict=True))
            self.saved += (len(keys) - len(new)) * self._least[id(model)]
            found += [self._known[key] for key in keys]
            if len(self._known) > KEPT:
                self._known.clear()
        return np.stack(found)


def digest(array: np.ndarray) -> bytes:
    """What stands for an image, or an order of pixels, in the memory of many."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).digest()

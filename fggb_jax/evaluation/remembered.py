"""Embeddings that were computed before are not computed again.

Judges ask about the same changed image for several partners, and most methods that hide parts of it
hide the same ones whoever the partner is.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from jaxtyping import Float

from fggb_jax.attribution.embedding_pass import Make, Progress, embed_many, parts

KEPT = 4096  # embeddings; all are forgotten then
AT_ONCE = 64  # images that are looked up


class Remembered:
    """`embed_many`, with a memory of images that it has seen."""

    def __init__(self) -> None:
        self._known: dict[Any, Float[np.ndarray, " N"]] = {}

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
            keys = [(id(model), _digest(image)) for image in images]
            new = {key: i for i, key in enumerate(keys) if key not in self._known}
            if new:
                wanted = images[list(new.values())]
                z = embed_many(model, len(wanted), lambda part, x=wanted: x[part], **how)
                self._known.update(zip(new, z, strict=True))
            found += [self._known[key] for key in keys]
            if len(self._known) > KEPT:
                self._known.clear()
        return np.stack(found)


def _digest(image: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=16).digest()

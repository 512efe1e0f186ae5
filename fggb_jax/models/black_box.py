"""A face recognizer of which only the embeddings can be had."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from fggb_jax.data.images import as_float
from fggb_jax.errors import ModelError
from fggb_jax.models.card import Card


class BlackBox:
    """Any callable that embeds faces: another framework's network, a service, a binary.

    Methods that ask for no gradient, such as occlusion, explain it like any other model.

    Args:
        function: (B, H, W, 3) float32 RGB in [0, 1], aligned → (B, N) embeddings; it does its own
            preprocessing. Batches are of several sizes.
        card: size, alignment template and threshold; its preprocessing is not applied.
        sha256: of the model, where there is one.

    Example:
        >>> import fggb_jax as fx
        >>> card = fx.Card("mean-color", size=(8, 8), threshold=0.9)
        >>> model = fx.BlackBox(lambda images: images.mean((1, 2)), card)
        >>> model.dimension
        3
    """

    def __init__(
        self,
        function: Callable[[np.ndarray], Any],
        card: Card,
        sha256: str | None = None,
    ) -> None:
        if not callable(function):
            raise ModelError(f"function is {function!r}; give a function (B, H, W, 3) → (B, N)")
        self.function, self.card, self.sha256 = function, card, sha256

    def embed(self, images: Any) -> Float[np.ndarray, "B N"]:
        """Embed a batch of aligned faces: see `FaceModel.embed`.

        Raises:
            ImageError: the shape is not the card's, or values are out of range or not finite.
            ModelError: the function does not return (B, N).
        """
        images = np.asarray(as_float(images, (None, *self.card.size, 3), self.card.name))
        z = np.asarray(self.function(images), np.float32)
        if z.ndim != 2 or len(z) != len(images):
            raise ModelError(
                f"{self.card.name!r} returns {z.shape} for {len(images)} faces, not one embedding "
                "for each: (B, N)"
            )
        return z

    @cached_property
    def dimension(self) -> int:
        """The number of channels N of the embedding; found by embedding a black image."""
        return self.embed(np.zeros((1, *self.card.size, 3), np.float32)).shape[1]

    def __repr__(self) -> str:
        height, width = self.card.size
        return f"BlackBox({self.card.name!r}, {height}×{width})"

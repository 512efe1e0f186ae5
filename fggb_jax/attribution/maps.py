"""What an attribution method returns: one map for each image of the pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class FaceMap:
    """The explanation of one image, as a function of the threshold: S(t) = P − t·Q.

    Attributes:
        p: P = Σ_k Ĝ_k w_k, (H, W); under `vmap` (B, H, W).
        q: Q = Σ_k Ĝ_k / N, (H, W); zero for a method that knows no threshold.
        threshold: t, a scalar; under `vmap` (B,).
    """

    p: Float[Array | np.ndarray, "*B H W"]
    q: Float[Array | np.ndarray, "*B H W"]
    threshold: Float[Array | np.ndarray, "*B"]

    @property
    def signed(self) -> Any:
        """S, raw: positive where the image speaks for the match, negative where against it."""
        # A batch of maps has a batch of thresholds.
        return self.p - self.threshold[..., None, None] * self.q

    @property
    def similarity(self) -> Any:
        """max(S, 0), (H, W)."""
        return self.signed.clip(min=0)

    @property
    def dissimilarity(self) -> Any:
        """max(−S, 0), (H, W)."""
        return (-self.signed).clip(min=0)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PairMaps:
    """The maps of a pair.

    Attributes:
        cosine: of the two embeddings, a scalar in [−1, 1].
        probe: the first image's map.
        gallery: the second image's map.
    """

    cosine: Float[Array, ""]
    probe: FaceMap
    gallery: FaceMap

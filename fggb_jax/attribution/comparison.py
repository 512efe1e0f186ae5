"""One image of a pair against the fixed embedding of the other: what the peers of FGGB ask.

All of them ask how the cosine changes, of changed images (`cosines`) or by its gradient
(`gradients`), in batches that a memory budget bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fggb_jax.attribution.device import on_cpu
from fggb_jax.attribution.memory import Plan, plan_images, power_of_two
from fggb_jax.attribution.walk import forward, plan_walk, pull_channels, pull_image
from fggb_jax.errors import ModelError

Progress = Callable[[int, int], None]
Make = Callable[[slice], Any]  # which of them → images (b, H, W, 3)


class Comparison:
    """One image of a pair, asked about while the other's embedding stays.

    Attributes:
        model: a `FaceModel`, or a `BlackBox` for methods without gradients.
        image: (H, W, 3) float32 RGB in [0, 1], the one that is explained.
        partner: (H, W, 3) likewise, the other.
        threshold: the cosine from which the pair is accepted.
        memory: a budget in bytes for what is computed at once; the default one where None.
        forwards: how many images were embedded so far, this pair's two not counted.
        backwards: how many of these were pulled back.
    """

    def __init__(
        self,
        model: Any,
        image: Array,
        partner: Array,
        threshold: float,
        *,
        memory: int | None = None,
        progress: Progress | None = None,
        embeddings: Float[np.ndarray, "2 N"] | None = None,
    ) -> None:
        self.model, self.image, self.partner, self.threshold = model, image, partner, threshold
        self.memory, self.progress = memory, progress
        self.forwards = self.backwards = 0
        if embeddings is not None:
            self.embeddings = embeddings

    @cached_property
    def embeddings(self) -> Float[np.ndarray, "2 N"]:
        """Of the image and of its partner, raw."""
        z = np.asarray(self.model.embed(jnp.stack([self.image, self.partner])))
        if not (np.isfinite(z).all() and z.any(axis=1).all()):
            raise ModelError(
                f"the embedding of {self.model.card.name!r} is zero or not finite for these faces"
            )
        return z

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the image and of the map."""
        height, width, _ = self.image.shape
        return height, width

    @property
    def target(self) -> Float[np.ndarray, " N"]:
        """The partner's embedding, of length 1."""
        return unit(self.embeddings[1])

    @cached_property
    def cosine(self) -> float:
        """Of the two embeddings."""
        return float(np.clip(unit(self.embeddings[0]) @ self.target, -1, 1))

    def embed(self, count: int, make: Make) -> Float[np.ndarray, "K N"]:
        """Embeddings of changed images.

        Args:
            count: K.
            make: a slice of 0 … K → these images, (b, H, W, 3) in [0, 1]; called in order.
        """
        most = plan_images(self.model, self.image, self.memory)
        parts = [np.zeros((0, self.embeddings.shape[1]), np.float32)]
        for batch, n in batches(count, most, make, self.progress):
            parts.append(np.asarray(self.model.embed(batch))[:n])
        self.forwards += count
        return np.concatenate(parts)

    def cosines(self, count: int, make: Make) -> Float[np.ndarray, " K"]:
        """The cosine of changed images to the partner; arguments as of `embed`."""
        return unit(self.embed(count, make)) @ self.target

    def gradients(
        self, count: int, make: Make, target: Any = None
    ) -> Iterator[tuple[Float[np.ndarray, " b"], Float[Array, "b H W 3"]]]:
        """The cosine of changed images and its gradient with respect to them, batch by batch.

        Args:
            count: how many images.
            make: as of `embed`.
            target: (N,) in place of the partner's unit embedding: what is differentiated is the
                unit embedding times it.

        Yields:
            (cosines, gradients) of each batch, in order.
        """
        target = jnp.asarray(self.target if target is None else target)
        # A CPU goes image by image, through the engine's prepared pullbacks.
        most = 1 if on_cpu() else plan_images(self.model, self.image, self.memory)
        pulled = self._pulled_on_cpu if on_cpu() else partial(_pulled_together, self.model)
        for batch, n in batches(count, most, make, self.progress):
            values, gradients = pulled(batch, target)
            self.forwards += n
            self.backwards += n
            yield np.asarray(values)[:n], gradients[:n]

    def gradient(self, image: Any = None, target: Any = None) -> Float[np.ndarray, "H W 3"]:
        """The gradient of the cosine at one image, this one where None."""
        batch = (self.image if image is None else image)[None]
        ((_, gradients),) = self.gradients(1, lambda part: batch, target)
        return np.asarray(gradients[0])

    @cached_property
    def _plan(self) -> Plan:
        """Of the walk that pulls a CPU's images back: the same for all of them."""
        return plan_walk(self.model, "raw", "gradient", self.memory, self.image.dtype)

    def _pulled_on_cpu(self, images: Array, target: Array) -> tuple[Any, Any]:
        z, steps = forward(self.model, images[0], self._plan, "raw", "gradient")
        value, cotangent = _projected(z, target)
        shape = self.image.shape
        return value[None], pull_channels(steps, cotangent[None], shape, self._plan, "gradient")


def batches(
    count: int, most: int, make: Make, progress: Progress | None = None
) -> Iterator[tuple[Any, int]]:
    """Batches of one size, a power of two or `most`, and how many images of each are asked for.

    The rest of a batch is padding: each other shape would compile anew.
    """
    size = min(most, power_of_two(count))
    for start in range(0, count, size):
        stop = min(start + size, count)
        batch = make(slice(start, stop))
        full = len(batch) == size
        yield batch if full else jnp.resize(batch, (size, *batch.shape[1:])), stop - start
        if progress is not None:
            progress(stop, count)


def unit(z: Float[np.ndarray, "*B N"]) -> Float[np.ndarray, "*B N"]:
    """Embeddings of length 1; one that is zero, of a black image say, is like nothing: it stays."""
    norms = np.linalg.norm(z, axis=-1, keepdims=True)
    return z / np.where(norms > 0, norms, 1)


@jax.jit
def _projected(z: Float[Array, " N"], target: Float[Array, " N"]) -> tuple[Array, Array]:
    """The unit embedding times the target, and the gradient of that with respect to z."""
    return jax.value_and_grad(lambda z: jnp.sum(z * target) / jnp.linalg.norm(z))(z)


@jax.jit
def _pulled_together(model: Any, images: Array, target: Array) -> tuple[Array, Array]:
    def one(image: Array) -> tuple[Array, Array]:
        z, pull = pull_image(model, image, kind="gradient")
        value, cotangent = _projected(z, target)
        return value, pull(cotangent)

    return jax.vmap(one)(images)

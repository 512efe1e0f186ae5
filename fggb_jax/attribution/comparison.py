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
from fggb_jax.attribution.embedding_pass import Make, Progress, batches, embed_many
from fggb_jax.attribution.gradient_pass import many_gradients, projected
from fggb_jax.attribution.jacobian import in_threads
from fggb_jax.attribution.memory import Plan, limits, plan_images
from fggb_jax.attribution.walk import forward, plan_walk, pull_channels, pull_image
from fggb_jax.errors import ModelError

# Images that are pulled back at a time on a CPU: the plan of a walk has room for a pair's two.
PAIR = 2


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

    `embed_all` is `embed_many`, or what is called as it is; `prepared` is of embeddings, as there,
    and of gradients.
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
        embed_all: Callable[..., Float[np.ndarray, "K N"]] = embed_many,
        prepared: bool = False,
    ) -> None:
        self.model, self.image, self.partner, self.threshold = model, image, partner, threshold
        self.memory, self.progress, self._embed_all = memory, progress, embed_all
        self._prepared = prepared
        self.forwards = self.backwards = 0
        if embeddings is not None:
            self.embeddings = self._checked(embeddings)

    @cached_property
    def embeddings(self) -> Float[np.ndarray, "2 N"]:
        """Of the image and of its partner, raw."""
        return self._checked(np.asarray(self.model.embed(jnp.stack([self.image, self.partner]))))

    def _checked(self, z: Float[np.ndarray, "2 N"]) -> Float[np.ndarray, "2 N"]:
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
        if not count:
            return np.zeros((0, self.embeddings.shape[1]), np.float32)
        self.forwards += count
        shared = {"memory": self.memory, "progress": self.progress, "prepared": self._prepared}
        return self._embed_all(self.model, count, make, **shared)

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
        cpu = on_cpu()
        most = limits().batch if cpu else plan_images(self.model, self.image, self.memory)
        pulled = self._pulled_on_cpu if cpu else partial(_pulled_together, self.model)
        for batch, n in batches(count, most, make, self.progress):
            values, gradients = pulled(batch[:n] if cpu else batch, target)
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
        """By a model made ready, else image by image, through the engine's prepared pullbacks."""
        if self._prepared:
            found = many_gradients(self.model, np.asarray(images), target, self.memory)
            if found is not None:
                return found
        plan = self._plan

        def one(i: int) -> tuple[Any, Any]:
            z, steps = forward(self.model, images[i], plan, "raw", "gradient")
            value, cotangent = projected(z, target)
            shape = self.image.shape
            return value, pull_channels(steps, cotangent[None], shape, plan, "gradient")

        threads = min(plan.threads, PAIR, len(images))
        # What compiles goes first and alone: two threads would compile the same twice.
        found = in_threads(one, range(len(images)), threads, alone=int(self.backwards == 0))
        values, gradients = zip(*found, strict=True)
        return np.stack(values), np.concatenate(gradients)


def unit(z: Float[np.ndarray, "*B N"]) -> Float[np.ndarray, "*B N"]:
    """Embeddings of length 1; one that is zero, of a black image say, is like nothing: it stays."""
    norms = np.linalg.norm(z, axis=-1, keepdims=True)
    return z / np.where(norms > 0, norms, 1)


@jax.jit
def _pulled_together(model: Any, images: Array, target: Array) -> tuple[Array, Array]:
    def one(image: Array) -> tuple[Array, Array]:
        z, pull = pull_image(model, image, kind="gradient")
        value, cotangent = projected(z, target)
        return value, pull(cotangent)

    return jax.vmap(one)(images)

"""The gradient of the cosine at many images: what gradient methods ask of a model most.

A CPU's `FaceModel` is made ready for it (`ready`), as it is for embeddings. It takes two programs,
there and back: in one, XLA would compute the way there anew wherever the way back needs a value.
"""

from __future__ import annotations

import contextlib
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fggb_jax.attribution.jacobian import current_settings
from fggb_jax.attribution.memory import described, plan_threads
from fggb_jax.attribution.pullback import Pullback, divide, results_of
from fggb_jax.attribution.ready import FORMS, Traced, by_group, evaluated
from fggb_jax.errors import OptionError
from fggb_jax.models.face_model import FaceModel
from onnx2jax.lowering.conv import Form

TOGETHER = 2  # images of a program: what they leave for the way back should stay in the cache


@jax.jit
def projected(z: Float[Array, " N"], target: Float[Array, " N"]) -> tuple[Array, Array]:
    """The unit embedding times the target, and the gradient of that with respect to z.

    Both are 0 where the embedding is: as in `unit`, it is like nothing.
    """
    known = jnp.any(z != 0)
    safe = jnp.where(known, z, 1)
    value, gradient = jax.value_and_grad(lambda z: jnp.sum(z * target) / jnp.linalg.norm(z))(safe)
    return jnp.where(known, value, 0), jnp.where(known, gradient, 0)


_projected_all = jax.jit(jax.vmap(projected, (0, None)))


class Gradients:
    """A model that is made ready for the gradients of many images on a CPU."""

    def __init__(self, there: Pullback, back: Pullback, threads: int) -> None:
        self._there, self._back = there, back
        self._threads, self._compiled = threads, False

    def __call__(
        self, images: Float[np.ndarray, "B H W 3"], target: Float[Array, " N"]
    ) -> tuple[Float[np.ndarray, " B"], Float[np.ndarray, "B H W 3"]]:
        """The unit embeddings of one image or more times a target, and the gradients of that."""

        def one(group: np.ndarray) -> tuple[Any, Any]:
            z, *residuals = evaluated(self._there, group)
            values, cotangents = _projected_all(z, target)
            return values, evaluated(self._back, *residuals, cotangents)

        how = {"threads": self._threads, "compiled": self._compiled}
        found = by_group(one, np.asarray(images, np.float32), TOGETHER, **how)
        self._compiled = True
        return found


def gradients_of(model: FaceModel, memory: int | None = None) -> Gradients | None:
    """The model made ready, once; None where that does not fit a budget in bytes."""
    settings = tuple(current_settings().values())
    _, structure, shapes = described(model)
    for form, share in FORMS:
        ways = _traced(structure, shapes, model.card.size, model.dimension, form, settings)
        with contextlib.suppress(OptionError):
            threads = plan_threads([way.program for way in ways], memory, share)
            made = _READY.setdefault(model, {})
            if ways not in made:
                there, back = ways
                made[ways] = Gradients(there.of(model), back.of(model), threads)
            return made[ways]
    return None


# Kernels are kept as long as the model lives.
_READY: WeakKeyDictionary[FaceModel, dict[Any, Gradients]] = WeakKeyDictionary()


@lru_cache(maxsize=64)
def _traced(
    structure: Any,
    shapes: tuple[jax.ShapeDtypeStruct, ...],
    size: tuple[int, int],
    dimension: int,
    form: Form,
    settings: Any,  # what JAX's own caches distinguish as well
) -> tuple[Traced, Traced]:
    """The way there, images → embeddings and residuals; and back, these and cotangents → gradients.

    All models of a structure are traced once.
    """
    images = jax.ShapeDtypeStruct((TOGETHER, *size, 3), np.float32)
    cotangents = jax.ShapeDtypeStruct((TOGETHER, dimension), np.float32)

    def both(*arrays: Any) -> tuple[Any, Any]:
        *leaves, images, cotangents = arrays
        embed = jax.vmap(structure.unflatten(leaves))
        z, pull = jax.vjp(lambda x: embed(x).astype(jnp.float32), images)
        return z, *pull(cotangents)

    closed = jax.make_jaxpr(both)(*shapes, images, cotangents)
    _, back = divide(closed.jaxpr, image=closed.jaxpr.invars[-2:-1])

    def there(*arrays: Any) -> list[Any]:
        return results_of(closed, [closed.jaxpr.outvars[0], *back.residuals], *arrays)

    def return_(*arrays: Any) -> Any:
        leaves, (*residuals, cotangents) = arrays[: len(shapes)], arrays[len(shapes) :]
        return Pullback(back, results_of(closed, back.kernels, *leaves), residuals)(cotangents)

    left = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in back.residuals]
    return (
        Traced(there, shapes, [images], form),
        Traced(return_, shapes, [*left, cotangents], form),
    )

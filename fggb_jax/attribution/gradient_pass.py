"""The gradient of the cosine at many images: what gradient methods ask of a model most.

A CPU's `FaceModel` is made ready for it (`ready`), as it is for embeddings. It takes two programs,
there and back: in one, XLA would compute the way there anew wherever the way back needs a value.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fggb_jax.attribution.pullback import Pullback, divide, results_of
from fggb_jax.attribution.ready import Traced, evaluated, made_ready
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


def many_gradients(
    model: FaceModel,
    images: Float[np.ndarray, "B H W 3"],
    target: Float[Array, " N"],
    memory: int | None = None,
) -> tuple[Float[np.ndarray, " B"], Float[np.ndarray, "B H W 3"]] | None:
    """The unit embeddings of one image or more times a target, and the gradients of that.

    None where the model's kernels do not fit a budget in bytes.
    """
    ready = made_ready(model, partial(_traced, model.dimension), memory)
    if ready is None:
        return None
    there, back = ready.functions

    def one(group: np.ndarray) -> tuple[Any, Any]:
        z, *residuals = evaluated(there, group)
        values, cotangents = _projected_all(z, target)
        return values, evaluated(back, *residuals, cotangents)

    return ready.by_group(one, [np.asarray(images, np.float32)], TOGETHER)


@lru_cache(maxsize=64)
def _traced(
    dimension: int,
    structure: Any,
    shapes: tuple[jax.ShapeDtypeStruct, ...],
    size: tuple[int, int],
    form: Form,
    settings: Any,
) -> tuple[Traced, Traced]:
    """There: images → embeddings and residuals; and back: these and cotangents → gradients."""
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

"""Many images embedded: what methods and judges ask of a model most.

On a CPU a `FaceModel` can be made ready for it (`ready`). Elsewhere, and for a `BlackBox`, whose
function may not be called by two threads at once, batches are as large as a memory budget allows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from fggb_jax.attribution.device import on_cpu
from fggb_jax.attribution.memory import plan_images, power_of_two
from fggb_jax.attribution.ready import Traced, evaluated, made_ready
from fggb_jax.data.images import as_float
from fggb_jax.models.face_model import FaceModel
from fggb_jax.precision import full_precision
from onnx2jax.lowering.conv import Form

Progress = Callable[[int, int], None]
Make = Callable[[slice], Any]  # which of them → images (b, H, W, 3)

TOGETHER = 4  # images of a CPU's program: their activations should stay in its cache
FEW = 2 * TOGETHER  # images that do not pay for another program


@full_precision()  # in one precision for all who ask, or a CPU would make the model ready anew
def embed_many(
    model: Any,
    count: int,
    make: Make,
    *,
    memory: int | None = None,
    progress: Progress | None = None,
    prepared: bool = False,
) -> Float[np.ndarray, "K N"]:
    """The embeddings of K ≥ 1 images, in their order.

    Args:
        model: a `FaceModel`, a `BlackBox`, or whatever else has `embed` and a card.
        count: K.
        make: a slice of 0 … K → these images, (b, H, W, 3) in [0, 1]; called in order.
        memory: a budget in bytes for what is computed at once; that of `limits` where None.
        progress: called as progress(done, total) with counts of images, a few of which may still
            be worked on.
        prepared: whether so many images are still to come that a CPU's `FaceModel` had better be
            made ready; that compiles a program, for half a minute where the network is large.

    Raises:
        OptionError: not even one image fits the budget.
    """
    if prepared and count > FEW and on_cpu() and isinstance(model, FaceModel):
        ready = made_ready(model, _traced, memory)
        if ready is not None:
            listed = parts(count, 2 * ready.threads * TOGETHER, progress)
            images = (_checked(model, make(part)) for part in listed)
            return ready.by_group(partial(evaluated, *ready.functions), images, TOGETHER)
    face = jax.ShapeDtypeStruct((*model.card.size, 3), np.float32)
    listed = batches(count, plan_images(model, face, memory), make, progress)
    return np.concatenate([np.asarray(model.embed(batch))[:n] for batch, n in listed])


def batches(
    count: int, most: int, make: Make, progress: Progress | None = None
) -> Iterator[tuple[Any, int]]:
    """Batches of one size, a power of two or `most`, and how many images of each are asked for.

    The rest of a batch is padding: each other shape would compile anew.
    """
    size = min(most, power_of_two(count))
    for part in parts(count, size, progress):
        batch = make(part)
        full = len(batch) == size
        padded = batch if full else jnp.resize(batch, (size, *batch.shape[1:]))
        yield padded, part.stop - part.start


def parts(count: int, size: int, progress: Progress | None = None) -> Iterator[slice]:
    """Slices of 0 … count; progress is told of each when the next one is asked for."""
    for start in range(0, count, size):
        part = slice(start, min(start + size, count))
        yield part
        if progress is not None:
            progress(part.stop, count)


def _checked(model: FaceModel, images: Any) -> Float[np.ndarray, "B H W 3"]:
    """Images as `FaceModel.embed` takes them."""
    return np.asarray(as_float(images, (None, *model.card.size, 3), model.card.name))


@lru_cache(maxsize=64)
def _traced(
    structure: Any,
    shapes: tuple[jax.ShapeDtypeStruct, ...],
    size: tuple[int, int],
    form: Form,
    settings: Any,
) -> tuple[Traced]:
    """Images → embeddings."""

    def plain(*arrays: Any) -> Any:
        *leaves, images = arrays
        return jax.vmap(structure.unflatten(leaves))(images).astype(jnp.float32)

    images = jax.ShapeDtypeStruct((TOGETHER, *size, 3), np.float32)
    return (Traced(plain, shapes, [images], form),)

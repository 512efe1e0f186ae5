"""Many images embedded: what methods and judges ask of a model most.

On a CPU a `FaceModel` can be made ready for it (`ready`). Elsewhere, and for a `BlackBox`, whose
function may not be called by two threads at once, batches are as large as a memory budget allows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any
from weakref import WeakKeyDictionary

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from fggb_jax.attribution.device import on_cpu
from fggb_jax.attribution.jacobian import current_settings
from fggb_jax.attribution.memory import described, plan_images, plan_threads, power_of_two
from fggb_jax.attribution.pullback import Pullback
from fggb_jax.attribution.ready import FORMS, Traced, by_group, evaluated
from fggb_jax.data.images import as_float
from fggb_jax.errors import OptionError
from fggb_jax.models.face_model import FaceModel
from onnx2jax.lowering.conv import Form

Progress = Callable[[int, int], None]
Make = Callable[[slice], Any]  # which of them → images (b, H, W, 3)

TOGETHER = 4  # images of a CPU's program: their activations should stay in its cache
FEW = 2 * TOGETHER  # images that do not pay for another program


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
        progress: called as progress(done, total) with counts of images.
        prepared: whether so many images are still to come that a CPU's `FaceModel` had better be
            made ready; that compiles a program, for half a minute where the network is large.

    Raises:
        OptionError: not even one image fits the budget.
    """
    if prepared and count > FEW and on_cpu() and isinstance(model, FaceModel):
        ready = _ready(model, memory)
        if ready is not None:
            found = [ready(make(part)) for part in parts(count, ready.at_once, progress)]
            return np.concatenate(found)
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


class Ready:
    """A model that is made ready to embed many images on a CPU.

    Attributes:
        at_once: images that keep all threads busy, and wait little for the last of them.
    """

    def __init__(self, model: FaceModel, program: Pullback, threads: int) -> None:
        self._size, self._name = model.card.size, model.card.name
        self._program, self._threads, self._compiled = program, threads, False
        self.at_once = 2 * threads * TOGETHER

    def __call__(self, images: Any) -> Float[np.ndarray, "B N"]:
        """The embeddings of one image or more, as of `FaceModel.embed`."""
        images = np.asarray(as_float(images, (None, *self._size, 3), self._name))
        how = {"threads": self._threads, "compiled": self._compiled}
        found = by_group(partial(evaluated, self._program), images, TOGETHER, **how)
        self._compiled = True
        return found


def _ready(model: FaceModel, memory: int | None) -> Ready | None:
    """The model made ready, once; None where its kernels do not fit the budget."""
    settings = tuple(current_settings().values())
    _, structure, shapes = described(model)
    for form, share in FORMS:
        traced = _traced(structure, shapes, model.card.size, form, settings)
        with contextlib.suppress(OptionError):
            threads = plan_threads([traced.program], memory, share)
            made = _READY.setdefault(model, {})
            if traced not in made:
                made[traced] = Ready(model, traced.of(model), threads)
            return made[traced]
    return None


# Kernels are kept as long as the model lives.
_READY: WeakKeyDictionary[FaceModel, dict[Any, Ready]] = WeakKeyDictionary()


@lru_cache(maxsize=64)
def _traced(
    structure: Any,
    shapes: tuple[jax.ShapeDtypeStruct, ...],
    size: tuple[int, int],
    form: Form,
    settings: Any,  # what JAX's own caches distinguish as well
) -> Traced:
    """All models of a structure, traced once."""

    def plain(*arrays: Any) -> Any:
        *leaves, images = arrays
        return jax.vmap(structure.unflatten(leaves))(images).astype(jnp.float32)

    images = jax.ShapeDtypeStruct((TOGETHER, *size, 3), np.float32)
    return Traced(plain, shapes, [images], form)

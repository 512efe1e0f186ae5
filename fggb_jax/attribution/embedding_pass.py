"""Many images embedded: what methods and judges ask of a model most.

On a CPU a `FaceModel` can be made ready for it. What depends on its parameters alone, kernels with
the normalizations beside them and Winograd's transforms of these, is computed once for a model. The
rest is one program of a few images, which stay in the processor's cache; it goes to as many threads
as there are cores, since XLA alone keeps them busy in large matrix products only.

Elsewhere, and for a `BlackBox`, whose function may not be called by two threads at once, batches
are as large as a memory budget allows.
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
from jax.extend import core as jex
from jaxtyping import Float

from fggb_jax.attribution.device import on_cpu
from fggb_jax.attribution.jacobian import current_settings, in_threads
from fggb_jax.attribution.memory import described, plan_images, plan_threads, power_of_two
from fggb_jax.attribution.pullback import Program, Pullback, divide, evaluate, results_of
from fggb_jax.data.images import as_float
from fggb_jax.errors import OptionError
from fggb_jax.models.face_model import FaceModel
from onnx2jax.lowering.channels_last import parameter, placed, read, run
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
        count = len(images)
        # The last one again: another shape would compile anew.
        images = np.pad(images, ((0, -count % TOGETHER), (0, 0), (0, 0), (0, 0)), "edge")

        def one(start: int) -> np.ndarray:
            return np.asarray(_run(self._program, images[start : start + TOGETHER]))

        starts = range(0, len(images), TOGETHER)
        # What compiles goes first and alone: two threads would compile the same twice.
        found = [*in_threads(one, starts, self._threads, alone=int(not self._compiled))]
        self._compiled = True
        return np.concatenate(found)[:count]


@jax.jit
def _run(program: Pullback, images: Any) -> Any:
    return program(images)


def _ready(model: FaceModel, memory: int | None) -> Ready | None:
    """The model made ready, once; None where its kernels do not fit the budget."""
    settings = tuple(current_settings().values())
    _, structure, shapes = described(model)
    images = jax.ShapeDtypeStruct((TOGETHER, *model.card.size, 3), np.float32)
    # As in `plan_walk`: these kernels are 4 times the plain ones, or 16/9. All are made by one
    # program, which may take as much again.
    for winograd, share in ((4, 1 / 4), (2, 1 / 2), (0, 1 / 2)):
        traced = _traced(structure, shapes, images, Form(winograd=winograd), settings)
        with contextlib.suppress(OptionError):
            return _with_kernels(model, traced, plan_threads(traced.program, memory, share))
    return None


# Kernels are kept as long as the model lives.
_READY: WeakKeyDictionary[FaceModel, dict[Any, Ready]] = WeakKeyDictionary()


def _with_kernels(model: FaceModel, traced: Traced, threads: int) -> Ready:
    made = _READY.setdefault(model, {})
    if traced not in made:
        kernels = traced.kernels(*jax.tree.leaves(model))
        made[traced] = Ready(model, Pullback(traced.program, kernels, ()), threads)
    return made[traced]


class Traced:
    """A program of a few images, and what makes its kernels; compared by identity.

    Attributes:
        program: images → embeddings; its kernels are not in it.
        kernels: the leaves of a model → these.
    """

    def __init__(self, closed: jex.ClosedJaxpr) -> None:
        self.program: Program = divide(closed.jaxpr)[1]
        self.kernels = jax.jit(partial(results_of, closed, self.program.kernels))


@lru_cache(maxsize=64)
def _traced(
    structure: Any,
    shapes: tuple[jax.ShapeDtypeStruct, ...],
    images: jax.ShapeDtypeStruct,
    form: Form,
    settings: Any,  # what JAX's own caches distinguish as well
) -> Traced:
    """All models of a structure, traced once, channels last and with folded kernels."""

    def plain(*arrays: Any) -> Any:
        *leaves, images = arrays
        return jax.vmap(structure.unflatten(leaves))(images).astype(jnp.float32)

    closed = jax.make_jaxpr(plain)(*shapes, images)
    early, late = divide(closed.jaxpr)
    variables = (*closed.jaxpr.constvars, *closed.jaxpr.invars)

    def fast(*arrays: Any) -> Any:
        values = dict(zip(variables, (*closed.consts, *arrays), strict=True))
        evaluate(early, values)
        inner = {v: parameter(values[v], tuple(range(v.aval.ndim))) for v in late.kernels}
        inner[late.cotangent] = placed(arrays[-1])
        run(late.eqns, inner, form=form, fold=True)
        return read(inner, late.result).plain

    return Traced(jax.make_jaxpr(fast)(*shapes, images))

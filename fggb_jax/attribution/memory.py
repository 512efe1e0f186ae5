"""How many cotangents fit a memory budget: decided from the program, never from what is free.

On a CPU a second, smaller bound counts: what a step works on should stay in the cache. Elsewhere
many cotangents at once are what keeps the device busy.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend import core as jex

from fggb_jax.attribution.device import on_cpu
from fggb_jax.attribution.pullback import Program, Pullback
from fggb_jax.errors import OptionError
from onnx2jax.lowering.conv import DENSE, Form

LARGEST_CHUNK = 32  # of a CPU's steps; larger ones bring nothing that was measured
# Bytes that a step may work on, counted without XLA's fusion, which needs a fraction of them: the
# best of 4, 8, 16 and 32 MiB over three recognizers.
CACHE = 8 << 20


class Limits(NamedTuple):
    """What is allowed where nobody says otherwise.

    Attributes:
        budget: bytes.
        chunk: cotangents at once; larger ones bring nothing that was measured.
        images: that share a chunk, where there are many: one forward pass and one answer for all.
        batch: images that are embedded at once.
    """

    budget: int
    chunk: int
    images: int
    batch: int


def limits() -> Limits:
    """Those of the device that JAX works on; an accelerator has at least 8 GiB."""
    return Limits(1 << 30, LARGEST_CHUNK, 1, 16) if on_cpu() else Limits(4 << 30, 256, 4, 256)


class Plan(NamedTuple):
    """How the channels are walked.

    Attributes:
        chunks: channels at once in each stage, the image's first; each divides the next.
        threads: how many chunks of the last stage at a time.
        form: of the convolutions; Winograd's kernels are the larger ones and need room.
        bytes: of the budget that all of it takes, at most.
    """

    chunks: tuple[int, ...]
    threads: int
    form: Form = DENSE
    bytes: int = 0

    def limited(self, count: int) -> Plan:
        """The plan for `count` cotangents, fewer than it was made for."""
        most = power_of_two(count)
        chunks = tuple(min(chunk, most) for chunk in self.chunks)
        threads = min(self.threads, -(-count // chunks[-1]))
        return self._replace(chunks=chunks, threads=threads)


def power_of_two(count: int) -> int:
    """The least that is not smaller."""
    return 1 << (count - 1).bit_length()


def plan_steps(steps: Sequence[Pullback], count: int, budget: int | None, share: float = 1) -> Plan:
    """The plan of a network whose pullbacks are prepared.

    The chunks, and so every bit of the result on a CPU, depend on the network and the budget. The
    threads depend on the cores too, and the result not on them.

    Args:
        steps: of each stage, the image's first; their residuals may be shapes alone.
        count: of the cotangents.
        budget: bytes for what the steps hold and compute, on top of the network's parameters;
            that of `limits` where None.
        share: of the budget that kernels and residuals may take.

    Raises:
        OptionError: not even one cotangent fits.
    """
    budget = limits().budget if budget is None else int(budget)
    each = [_step_bytes(step.program) for step in steps]
    held = sum(_held_bytes(step.program) for step in steps)
    _refuse(max(held + sum(each), int(held / share)), budget)
    free = budget - held
    # Kernels pass through the cache with every chunk: a chunk may take as much as they do.
    kernels = [sum(map(_bytes, step.program.kernels)) for step in steps]
    room = [min(max(CACHE, bytes_), 4 * CACHE) for bytes_ in kernels]
    while _together(chunks := _fitting(each, count, room), each) > free:
        room = [bytes_ // 2 for bytes_ in room]
    threads = min(os.cpu_count() or 1, free // _together(chunks, each), -(-count // chunks[-1]))
    return Plan(chunks, threads, bytes=held + threads * _together(chunks, each))


def plan_threads(programs: Sequence[Program], budget: int | None, share: float = 1) -> int:
    """How many threads may have prepared programs in hand at a time.

    Args:
        programs: of a few images, one after the other.
        budget: bytes for kernels and what is computed, on top of the network's parameters; that of
            `limits` where None.
        share: of the budget that kernels may take.

    Raises:
        OptionError: not even one may.
    """
    budget = limits().budget if budget is None else int(budget)
    held, each = (sum(map(of, programs)) for of in (_held_bytes, _step_bytes))
    _refuse(max(held + each, int(held / share)), budget)
    return min(os.cpu_count() or 1, (budget - held) // each)


# Programs are compared by identity, so that each is gone through once for all images.


@lru_cache(maxsize=1024)
def _held_bytes(program: Program) -> int:
    """The kernels, and the residuals of the two images of a pair."""
    return sum(map(_bytes, program.kernels)) + 2 * sum(map(_bytes, program.residuals))


@lru_cache(maxsize=1024)
def _step_bytes(program: Program) -> int:
    """The peak of a prepared step for one cotangent, the result with it."""
    return _peak(program, set(program.arguments)) + sum(map(_bytes, program.outvars))


def _fitting(each: Sequence[int], count: int, room: Sequence[int]) -> tuple[int, ...]:
    """Powers of two, falling towards the image, so that each stage's chunk fits in its room."""
    largest = min(LARGEST_CHUNK, power_of_two(count))
    chunks = []
    for size, bytes_ in zip(reversed(each), reversed(room), strict=True):
        fits = 1 << max(int(bytes_ // size).bit_length() - 1, 0)
        largest = min(largest, fits)
        chunks.append(largest)
    return tuple(reversed(chunks))


def _together(chunks: Sequence[int], each: Sequence[int]) -> int:
    """Bytes of a thread that has a chunk of every stage in hand."""
    return sum(chunk * size for chunk, size in zip(chunks, each, strict=True))


def plan_chunk(
    f: Callable[[Any, Any], Any], params: Any, image: jax.ShapeDtypeStruct, budget: int | None
) -> int:
    """The number of channels to pull back at once.

    Args:
        f: f(params, image) → (N,), pure.
        params: any pytree of arrays or of their shapes.
        image: the shape and dtype of one image.
        budget: bytes for what a chunk computes, on top of parameters and the forward pass's
            residuals; that of `limits` where None.

    Returns:
        1 … N, as many as fit and `limits` allows, so that the last chunk is nearly full.

    Raises:
        OptionError: not even one cotangent fits.
    """
    budget = limits().budget if budget is None else int(budget)
    each = _cotangent_bytes(f, params, image)
    _refuse(each, budget)
    (count,) = jax.eval_shape(f, params, image).shape
    chunks = -(-count // min(budget // each, limits().chunk))
    return -(-count // chunks)


def plan_images(model: Any, image: Any, budget: int | None) -> int:
    """The number of images to embed at once: as many as fit, up to `limits().batch`.

    Args:
        model: any callable of one image; what cannot be traced, a `BlackBox`, takes the largest.
        image: one image, or its shape and dtype.
        budget: bytes for what a batch computes, on top of parameters; that of `limits` where None.

    Raises:
        OptionError: not even one image fits.
    """
    budget = limits().budget if budget is None else int(budget)
    if not callable(model):
        return limits().batch
    shape = jax.ShapeDtypeStruct(image.shape, image.dtype)
    _, structure, shapes = described(model)
    each = _image_bytes(structure, shapes, shape)
    if each > budget:
        raise OptionError(
            f"a memory budget of {budget:,} bytes is too small: one image of this model needs "
            f"{each:,}"
        )
    return min(budget // each, limits().batch)


def described(model: Any) -> tuple[list[Any], Any, tuple[jax.ShapeDtypeStruct, ...]]:
    """A model's leaves, its structure, and their shapes: the latter equal for all uses of it."""
    leaves, structure = jax.tree.flatten(model)
    shapes = tuple(jax.ShapeDtypeStruct(np.shape(x), x.dtype) for x in leaves)
    return leaves, structure, shapes


@lru_cache(maxsize=64)
def _image_bytes(structure: Any, shapes: Any, image: jax.ShapeDtypeStruct) -> int:
    """The peak of the live values while one image is embedded and pulled back."""
    jaxpr = jax.make_jaxpr(lambda model, x: model(x))(structure.unflatten(shapes), image).jaxpr
    return 2 * _peak(jaxpr, {jaxpr.invars[-1]})


def _refuse(each: int, budget: int) -> None:
    if each > budget:
        raise OptionError(
            f"a memory budget of {budget:,} bytes is too small: one channel of this model needs "
            f"{each:,}"
        )


def _cotangent_bytes(f: Callable[[Any, Any], Any], params: Any, image: jax.ShapeDtypeStruct) -> int:
    """The peak of the live values while one cotangent is pulled back."""

    def backward(params: Any, x: Any, cotangent: Any) -> Any:
        return jax.vjp(partial(f, params), x)[1](cotangent)

    embedding = jax.eval_shape(f, params, image)
    # Only what depends on the cotangent is multiplied by the chunk.
    jaxpr = jax.make_jaxpr(backward)(params, image, embedding).jaxpr
    gradient = 2 * int(np.prod(image.shape)) * image.dtype.itemsize
    return _peak(jaxpr, {jaxpr.invars[-1]}) + gradient


def _peak(jaxpr: jex.Jaxpr | Program, live: set[Any]) -> int:
    """The most bytes alive at once among the values that depend on `live`, equation by equation.

    XLA fuses, so it needs less; the estimate errs on the side of memory.
    """
    last_use = {v: i for i, eqn in enumerate(jaxpr.eqns) for v in eqn.invars if _is_var(v)}
    last_use |= {v: len(jaxpr.eqns) for v in jaxpr.outvars if _is_var(v)}
    live = {v for v in live if v in last_use}
    peak = sum(map(_bytes, live))
    for i, eqn in enumerate(jaxpr.eqns):
        moved = {v for v in eqn.invars if _is_var(v) and v in live}
        if not moved:
            continue
        inner = max((_inner_peak(eqn, sub, moved) for sub in _subjaxprs(eqn)), default=0)
        outputs = {v for v in eqn.outvars if v in last_use}
        alive = sum(map(_bytes, live | outputs))
        peak = max(peak, alive, sum(map(_bytes, live)) + inner)
        live = {v for v in live | outputs if last_use[v] > i}
    return peak


def _inner_peak(eqn: Any, sub: jex.Jaxpr, moved: set[Any]) -> int:
    """The peak inside a called function, its own arguments not counted twice."""
    skip = len(eqn.invars) - len(sub.invars)  # cond's predicate, say, is no argument of the branch
    pairs = zip(eqn.invars[max(skip, 0) :], sub.invars, strict=False)
    inside = {inner for outer, inner in pairs if _is_var(outer) and outer in moved}
    return max(_peak(sub, inside) - sum(map(_bytes, inside)), 0)


def _subjaxprs(eqn: Any) -> Iterator[jex.Jaxpr]:
    for value in eqn.params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, jex.ClosedJaxpr):
                yield item.jaxpr
            elif isinstance(item, jex.Jaxpr):
                yield item


def _is_var(v: Any) -> bool:
    return not isinstance(v, jex.Literal)


def _bytes(v: Any) -> int:
    shape, dtype = getattr(v.aval, "shape", ()), getattr(v.aval, "dtype", None)
    return int(np.prod(shape, dtype=np.int64)) * (dtype.itemsize if dtype is not None else 0)

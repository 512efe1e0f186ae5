"""The channel engine: Σ_k c_k Ĝ_k over the gradients of an embedding's channels.

G_k = ∂F_k/∂I is one row of the Jacobian, Ĝ_k its normalised map. The rows are walked in chunks of
one-hot cotangents, pulled back through one forward pass, and summed as they come: the N×H×W×3
Jacobian never exists. Several rows of coefficients share the walk.

Two drivers go over one `accumulate`: a `scan`, which is traceable anywhere, and a Python loop
over compiled steps, which compiles least and, on a CPU, runs fastest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Gradient = Literal["magnitude", "signed"]
Pull = Callable[[Array], Any]  # cotangent (N,) → (gradient (H, W, 3),)


def channel_map(gradient: Float[Array, "H W 3"], kind: Gradient) -> Float[Array, "H W"]:
    """One channel's gradient → its normalised map Ĝ.

    "magnitude": |gradient| averaged over RGB, then ÷ its norm over H×W. "signed": ÷ the norm over
    H×W×3, then averaged over RGB. Both are zero where the gradient is.
    """
    if kind == "magnitude":
        image = jnp.mean(jnp.abs(gradient), -1)
        return image / _norm(image)
    return jnp.mean(gradient / _norm(gradient), -1)


def _norm(x: Array) -> Array:
    """The Frobenius norm; 1 for zero, so that 0 ÷ it is 0 and its own gradient finite."""
    squared = jnp.sum(x * x)
    return jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1)), 1)


def accumulate(
    carry: Float[Array, "M H W"],
    pull: Pull,
    cotangents: Float[Array, "C N"],
    coefficients: Float[Array, "M C"],
    kind: Gradient,
) -> Float[Array, "M H W"]:
    """Add the maps of a chunk of channels, weighed by each row of coefficients."""
    (gradients,) = jax.vmap(pull)(cotangents)
    maps = jax.vmap(partial(channel_map, kind=kind))(gradients)
    return carry + jnp.tensordot(coefficients, maps, axes=1)


def chunk_step(
    carry: Array, pull: Pull, coefficients: Array, start: Any, chunk: int, kind: Gradient
) -> Array:
    """`accumulate` for channels start … start + chunk − 1; those beyond N add nothing."""
    count = coefficients.shape[1]
    indices = start + jnp.arange(chunk)
    inside = (indices < count).astype(coefficients.dtype)
    cotangents = jax.nn.one_hot(indices, count, dtype=coefficients.dtype)
    columns = jnp.take(coefficients, indices, axis=1, mode="clip") * inside[None, :]
    return accumulate(carry, pull, cotangents, columns, kind)


def scan_channels(
    pull: Pull,
    coefficients: Float[Array, "M N"],
    size: tuple[int, ...],
    chunk: int,
    kind: Gradient,
) -> Float[Array, "M H W"]:
    """Σ_k c_k Ĝ_k for each row of coefficients, as one traceable loop."""
    rows, count = coefficients.shape
    zero = jnp.zeros((rows, *size), coefficients.dtype)

    def body(carry: Array, start: Array) -> tuple[Array, None]:
        return chunk_step(carry, pull, coefficients, start, chunk, kind), None

    # XLA:CPU brings convolutions into the form that its fast kernels take in a program's main
    # computation only, not in a loop's body: there the loop is unrolled, at the price of compiling.
    unroll = jax.default_backend() == "cpu"
    total, _ = jax.lax.scan(body, zero, jnp.arange(0, count, chunk), unroll=unroll)
    return total


@partial(jax.jit, static_argnames="chunk")
def _pull_back(pull: Pull, cotangents: Array, start: Any, *, chunk: int) -> Array:
    """A few of the cotangents of a stage's result → those of its argument."""
    (found,) = jax.vmap(pull)(jax.lax.dynamic_slice_in_dim(cotangents, start, chunk))
    return found


@partial(jax.jit, static_argnames=("chunk", "kind"), donate_argnums=0)
def _finish(
    carry: Array,
    pull: Pull,
    cotangents: Array,
    coefficients: Array,
    start: Any,
    column: Any,
    *,
    chunk: int,
    kind: Gradient,
) -> Array:
    """The first stage: `accumulate` a few cotangents, whose channels begin at `column`."""
    some = jax.lax.dynamic_slice_in_dim(cotangents, start, chunk)
    columns = jax.lax.dynamic_slice_in_dim(coefficients, column, chunk, axis=1)
    return accumulate(carry, pull, some, columns, kind)


def drive_channels(
    pulls: Sequence[Pull],
    coefficients: Float[Array, "M N"],
    size: tuple[int, ...],
    chunks: Sequence[int],
    kind: Gradient,
    *,
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Float[Array, "M H W"]:
    """The same sum as a Python loop over compiled steps, for CPUs.

    The cotangents are pulled back stage by stage and depth first, ever fewer at once as their
    resolution grows, so that what a step works on stays in the processor's cache. Whole chunks of
    the last stage go to `threads` threads; their sums are added in the order of the channels, so
    the result does not depend on the threads.

    Args:
        pulls: of each stage, the image's first.
        coefficients: as in `scan_channels`.
        size: (H, W).
        chunks: cotangents at once for each stage; each divides the next.
        kind: of gradient.
        threads: Python threads.
        progress: `progress(done, total)` is told of channels as they are finished.
    """
    rows, count = coefficients.shape
    whole = -(-count // chunks[-1]) * chunks[-1]  # channels beyond N have zero cotangents
    coefficients = jnp.pad(coefficients, ((0, 0), (0, whole - count)))
    seeds = jnp.eye(whole, count, dtype=coefficients.dtype)

    def descend(level: int, cotangents: Array, start: int, column: int, carry: Array) -> Array:
        """Take `chunks[level]` cotangents from `start` down to the image."""
        pull, chunk = pulls[level], chunks[level]
        if level == 0:
            return _finish(
                carry, pull, cotangents, coefficients, start, column, chunk=chunk, kind=kind
            )
        below = _pull_back(pull, cotangents, start, chunk=chunk)
        for i in range(0, chunk, chunks[level - 1]):
            carry = descend(level - 1, below, i, column + i, carry)
        return carry

    def one(start: int) -> Array:
        zero = jnp.zeros((rows, *size), coefficients.dtype)
        return descend(len(pulls) - 1, seeds, start, start, zero).block_until_ready()

    total = jnp.zeros((rows, *size), coefficients.dtype)
    starts = range(0, whole, chunks[-1])
    for start, part in zip(starts, _ordered(one, starts, threads), strict=True):
        total = total + part
        if progress is not None:
            progress(min(start + chunks[-1], count), count)
    return total


def _ordered(one: Callable[[int], Array], starts: Iterable[int], threads: int) -> Iterator[Array]:
    """`map`, a few of them at a time."""
    if threads == 1:
        yield from map(one, starts)
        return
    settings = _settings()

    def configured(start: int) -> Array:
        with settings():
            return one(start)

    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(configured, starts)


# What a `with jax.…(value)` sets for its own thread only.
_PER_THREAD = ("enable_x64", "default_matmul_precision", "default_device")


def _settings() -> Callable[[], ExitStack]:
    """This thread's settings, to be entered in another one."""
    values = {name: getattr(jax.config, f"jax_{name}") for name in _PER_THREAD}

    def enter() -> ExitStack:
        stack = ExitStack()
        for name, value in values.items():
            stack.enter_context(getattr(jax, name)(value))
        return stack

    return enter

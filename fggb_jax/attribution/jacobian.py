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


def chunk_maps(
    pull: Pull, cotangents: Float[Array, "C N"], kind: Gradient
) -> Float[Array, "C H W"]:
    """The normalised maps Ĝ of the channels that the cotangents stand for."""
    (gradients,) = jax.vmap(pull)(cotangents)
    return jax.vmap(partial(channel_map, kind=kind))(gradients)


def accumulate(
    carry: Float[Array, "M H W"], maps: Float[Array, "C H W"], coefficients: Float[Array, "M C"]
) -> Float[Array, "M H W"]:
    """Add the maps of a chunk of channels, weighed by each row of coefficients."""
    return carry + jnp.tensordot(coefficients, maps, axes=1)


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
        indices = start + jnp.arange(chunk)
        # Channels beyond N have zero cotangents, so zero maps.
        cotangents = jax.nn.one_hot(indices, count, dtype=coefficients.dtype)
        columns = jnp.take(coefficients, indices, axis=1, mode="clip")
        return accumulate(carry, chunk_maps(pull, cotangents, kind), columns), None

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


@partial(jax.jit, static_argnames=("chunk", "kind"))
def _finish(pull: Pull, cotangents: Array, start: Any, *, chunk: int, kind: Gradient) -> Array:
    """The first stage: a few cotangents of its result → their channels' maps."""
    return chunk_maps(pull, jax.lax.dynamic_slice_in_dim(cotangents, start, chunk), kind)


@partial(jax.jit, donate_argnums=0)
def _add(carry: Array, maps: Sequence[Array], coefficients: Array, start: Any) -> Array:
    """`accumulate` for the channels from `start`."""
    joined = jnp.concatenate(maps)
    columns = jax.lax.dynamic_slice_in_dim(coefficients, start, len(joined), axis=1)
    return accumulate(carry, joined, columns)


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
    the last stage go to `threads` threads; their maps are added in the order of the channels, so
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

    def descend(level: int, cotangents: Array, start: int) -> list[Array]:
        """The maps of `chunks[level]` cotangents from `start`, taken down to the image."""
        pull, chunk = pulls[level], chunks[level]
        if level == 0:
            return [_finish(pull, cotangents, start, chunk=chunk, kind=kind)]
        below = _pull_back(pull, cotangents, start, chunk=chunk)
        parts = (descend(level - 1, below, i) for i in range(0, chunk, chunks[level - 1]))
        return [one for part in parts for one in part]

    def one(start: int) -> list[Array]:
        return jax.block_until_ready(descend(len(pulls) - 1, seeds, start))

    total = jnp.zeros((rows, *size), coefficients.dtype)
    starts = range(0, whole, chunks[-1])
    for start, maps in zip(starts, _ordered(one, starts, threads), strict=True):
        total = _add(total, maps, coefficients, start)
        if progress is not None:
            progress(min(start + chunks[-1], count), count)
    return total


def _ordered(
    one: Callable[[int], list[Array]], starts: Iterable[int], threads: int
) -> Iterator[list[Array]]:
    """`map`, a few of them at a time."""
    if threads == 1:
        yield from map(one, starts)
        return
    settings = _settings()

    def configured(start: int) -> list[Array]:
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

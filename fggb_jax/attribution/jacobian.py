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
# What a walk sums of each gradient: a normalised map, the gradient as it is, or its norm.
Kind = Gradient | Literal["gradient", "norm"]
Value = Callable[[Array], Array]  # of one cotangent


def channel_map(gradient: Float[Array, "H W 3"], kind: Gradient) -> Float[Array, "H W"]:
    """One channel's gradient → its normalised map Ĝ.

    "magnitude": |gradient| averaged over RGB, then ÷ its norm over H×W. "signed": ÷ the norm over
    H×W×3, then averaged over RGB. Both are zero where the gradient is.
    """
    if kind == "magnitude":
        image = jnp.mean(jnp.abs(gradient), -1)
        return image / _norm(image)
    return jnp.mean(gradient / _norm(gradient), -1)


def channel_value(gradient: Float[Array, "H W 3"], kind: Kind) -> Float[Array, "*size"]:
    """`channel_map`; or the gradient itself, (H, W, 3); or its norm over H×W×3, a scalar."""
    if kind == "norm":
        return jnp.linalg.norm(gradient)
    return gradient if kind == "gradient" else channel_map(gradient, kind)


def _norm(x: Array) -> Array:
    """The Frobenius norm; 1 for zero, so that 0 ÷ it is 0 and its own gradient finite."""
    squared = jnp.sum(x * x)
    return jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1)), 1)


def accumulate(
    carry: Float[Array, "M ..."], values: Float[Array, "C ..."], weights: Float[Array, "M C"]
) -> Float[Array, "M ..."]:
    """Add the values of a chunk of channels, weighed by each row of weights."""
    return carry + jnp.tensordot(weights, values, axes=1)


def scan_channels(
    value: Value,
    seeds: Float[Array, "K N"],
    coefficients: Float[Array, "M K"],
    size: tuple[int, ...],
    chunk: int,
) -> Float[Array, "M ..."]:
    """Σ_k c_k value(seed_k) for each row of coefficients, as one traceable loop.

    Args:
        value: of one cotangent (N,), such as the normalised map of its gradient, of shape `size`;
            zero for a zero cotangent.
        seeds: the cotangents, one-hot rows for the channels themselves.
        coefficients: a row for each sum.
        size: the shape of a value.
        chunk: cotangents at once.
    """
    seeds, coefficients = _whole_chunks(seeds, coefficients, chunk)
    zero = jnp.zeros((len(coefficients), *size), coefficients.dtype)

    def body(carry: Array, start: Array) -> tuple[Array, None]:
        values = jax.vmap(value)(jax.lax.dynamic_slice_in_dim(seeds, start, chunk))
        columns = jax.lax.dynamic_slice_in_dim(coefficients, start, chunk, axis=1)
        return accumulate(carry, values, columns), None

    # XLA:CPU brings convolutions into the form that its fast kernels take in a program's main
    # computation only, not in a loop's body: there the loop is unrolled, at the price of compiling.
    unroll = jax.default_backend() == "cpu"
    total, _ = jax.lax.scan(body, zero, jnp.arange(0, len(seeds), chunk), unroll=unroll)
    return total


def _whole_chunks(seeds: Array, coefficients: Array, chunk: int) -> tuple[Array, Array]:
    """Zero cotangents, whose values are zero, up to a multiple of the chunk."""
    more = -len(seeds) % chunk
    return jnp.pad(seeds, ((0, more), (0, 0))), jnp.pad(coefficients, ((0, 0), (0, more)))


@partial(jax.jit, static_argnames="chunk")
def _step(step: Value, cotangents: Array, start: Any, *, chunk: int) -> Array:
    """A few of the cotangents of a stage's result → those of its argument."""
    return jax.vmap(step)(jax.lax.dynamic_slice_in_dim(cotangents, start, chunk))


@partial(jax.jit, donate_argnums=0)
def _add(carry: Array, values: Sequence[Array], coefficients: Array, start: Any) -> Array:
    """`accumulate` for the channels from `start`."""
    joined = jnp.concatenate(values)
    columns = jax.lax.dynamic_slice_in_dim(coefficients, start, len(joined), axis=1)
    return accumulate(carry, joined, columns)


def drive_channels(
    steps: Sequence[Value],
    seeds: Float[Array, "K N"],
    coefficients: Float[Array, "M K"],
    size: tuple[int, ...],
    chunks: Sequence[int],
    *,
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Float[Array, "M ..."]:
    """The same sum as a Python loop over compiled steps, for CPUs.

    The cotangents are pulled back stage by stage and depth first, ever fewer at once as their
    resolution grows, so that what a step works on stays in the processor's cache. Whole chunks of
    the last stage go to `threads` threads; their values are added in the order of the channels, so
    the result does not depend on the threads.

    Args:
        steps: pytrees that are functions, of each stage, the image's first: from a cotangent of
            its result to one of its argument; the image's to the value itself.
        seeds: as in `scan_channels`.
        coefficients: likewise.
        size: likewise.
        chunks: cotangents at once for each stage; each divides the next.
        threads: Python threads.
        progress: `progress(done, total)` is told of channels as they are finished.
    """
    count = len(seeds)
    seeds, coefficients = _whole_chunks(seeds, coefficients, chunks[-1])

    def descend(level: int, cotangents: Array, start: int) -> list[Array]:
        """The values of `chunks[level]` cotangents from `start`, taken down to the image."""
        below = _step(steps[level], cotangents, start, chunk=chunks[level])
        if level == 0:
            return [below]
        parts = (descend(level - 1, below, i) for i in range(0, chunks[level], chunks[level - 1]))
        return [one for part in parts for one in part]

    def one(start: int) -> list[Array]:
        return jax.block_until_ready(descend(len(steps) - 1, seeds, start))

    total = jnp.zeros((len(coefficients), *size), coefficients.dtype)
    starts = range(0, len(seeds), chunks[-1])
    for start, values in zip(starts, _ordered(one, starts, threads), strict=True):
        total = _add(total, values, coefficients, start)
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


def current_settings() -> dict[str, Any]:
    """This thread's settings that change what is computed."""
    return {name: getattr(jax.config, f"jax_{name}") for name in _PER_THREAD}


def _settings() -> Callable[[], ExitStack]:
    """This thread's settings, to be entered in another one."""
    values = current_settings()

    def enter() -> ExitStack:
        stack = ExitStack()
        for name, value in values.items():
            stack.enter_context(getattr(jax, name)(value))
        return stack

    return enter

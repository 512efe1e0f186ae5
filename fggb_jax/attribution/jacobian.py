"""The channel engine: Σ_k c_k Ĝ_k over the gradients of an embedding's channels.

G_k = ∂F_k/∂I is one row of the Jacobian, Ĝ_k its normalised map. The rows are walked in chunks of
one-hot cotangents, pulled back through one forward pass, and summed as they come: the N×H×W×3
Jacobian never exists. Several rows of coefficients share the walk.

Two drivers go over one `accumulate`: a `scan`, which is traceable anywhere, and a Python loop
over compiled steps, which compiles least and, on a CPU, runs fastest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import islice
from typing import Any, Literal, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Gradient = Literal["magnitude", "signed"]
# What a walk sums of each gradient: a normalised map, the gradient as it is, or its norm.
Kind = Gradient | Literal["gradient", "norm"]
Value = Callable[[Array], Array]  # of one cotangent
S = TypeVar("S")
T = TypeVar("T")

AHEAD = 3  # items for each thread that were handed over, and whose results were not


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
    """The Frobenius norm; 1 for zero."""
    return root_or_one(jnp.sum(x * x))


def root_or_one(squared: Array) -> Array:
    """The square root; 1 for 0, so that 0 ÷ it is 0 and its own gradient finite."""
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
    seeds = _whole_chunks(seeds, chunk)
    coefficients = jnp.pad(coefficients, ((0, 0), (0, -coefficients.shape[1] % chunk)))
    zero = jnp.zeros((len(coefficients), *size), coefficients.dtype)

    def body(carry: Array, start: Array) -> tuple[Array, None]:
        values = jax.vmap(value)(jax.lax.dynamic_slice_in_dim(seeds, start, chunk))
        columns = jax.lax.dynamic_slice_in_dim(coefficients, start, chunk, axis=1)
        return accumulate(carry, values, columns), None

    def loop(unroll: bool) -> Array:
        return jax.lax.scan(body, zero, jnp.arange(0, len(seeds), chunk), unroll=unroll)[0]

    # XLA:CPU brings convolutions into the form that its fast kernels take in a program's main
    # computation only, not in a loop's body: there the loop is unrolled, at the price of compiling.
    # What counts is where the program will run, which may not be where it is compiled.
    return jax.lax.platform_dependent(cpu=partial(loop, True), default=partial(loop, False))


def _whole_chunks(seeds: Array, chunk: int) -> Array:
    """Zero cotangents, whose values are zero, up to a multiple of the chunk."""
    return jnp.pad(seeds, ((0, -len(seeds) % chunk), (0, 0)))


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
    coefficients: Float[Array | np.ndarray, "M K"],
    size: tuple[int, ...],
    chunks: Sequence[int],
    *,
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Float[np.ndarray, "M ..."]:
    """The same sum as a Python loop over compiled steps, for CPUs; see `walk_channels`.

    The rows are added two by two, each two of them by the same program, so that the bits of a row
    do not depend on what other rows there are.

    Args:
        steps: as in `walk_channels`.
        seeds: as in `scan_channels`.
        coefficients: likewise.
        size: likewise.
        chunks: as in `walk_channels`.
        threads: likewise.
        progress: likewise.
    """
    rows = len(coefficients)
    more = (0, rows % 2), (0, -len(seeds) % chunks[-1])
    coefficients = np.pad(np.asarray(coefficients), more)
    zeros = np.zeros((2, *size), coefficients.dtype)
    sums = [(jnp.asarray(zeros), jnp.asarray(two)) for two in np.split(coefficients, -(-rows // 2))]
    for start, values in walk_channels(steps, seeds, chunks, threads, progress):
        sums = [(_add(total, values, two, start), two) for total, two in sums]
    found = np.empty((len(sums), 2, *size), coefficients.dtype)
    for i in range(len(sums)):
        found[i] = sums.pop(0)[0]
    return found.reshape(-1, *size)[:rows]


def multiply_channels(
    steps: Sequence[Value],
    seeds: Float[Array, "K N"],
    coefficients: Float[np.ndarray, "M K"],
    size: tuple[int, ...],
    chunks: Sequence[int],
    *,
    gathered: int,
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Float[np.ndarray, "M ..."]:
    """The same sum for many rows on a CPU: matrix products with the values of many channels.

    In NumPy's memory, since it asks the system for large pages: the pages of a result of XLA's cost
    more than its arithmetic.

    Args:
        steps: as in `walk_channels`.
        seeds: as in `scan_channels`.
        coefficients: likewise.
        size: likewise.
        chunks: as in `walk_channels`.
        gathered: channels whose values are kept for one product.
        threads: as in `walk_channels`.
        progress: likewise.
    """
    coefficients = np.pad(coefficients, ((0, 0), (0, -len(seeds) % chunks[-1])))
    count = coefficients.shape[1]
    block = min(count, max(gathered // chunks[-1], 1) * chunks[-1])
    values = np.empty((block, int(np.prod(size))), coefficients.dtype)
    found = np.empty((len(coefficients), values.shape[1]), coefficients.dtype)
    for start, parts in walk_channels(steps, seeds, chunks, threads, progress):
        row, end = start % block, start + chunks[-1]
        for part in parts:
            values[row : row + len(part)] = np.asarray(part).reshape(len(part), -1)
            row += len(part)
        if row == block or end == count:
            _multiply(coefficients[:, end - row : end], values[:row], found, first=end == row)
    return found.reshape(-1, *size)


ROWS = 256  # whose products wait to be added at a time


def _multiply(
    coefficients: np.ndarray, values: np.ndarray, total: np.ndarray, *, first: bool
) -> None:
    """Set the total to the product, or add it."""
    if first:
        np.matmul(coefficients, values, out=total)
        return
    for i in range(0, len(total), ROWS):
        total[i : i + ROWS] += coefficients[i : i + ROWS] @ values


def walk_channels(
    steps: Sequence[Value],
    seeds: Float[Array, "K N"],
    chunks: Sequence[int],
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[int, list[Array]]]:
    """The values of all seeds in their order, chunk by chunk.

    The cotangents are pulled back stage by stage and depth first, ever fewer at once as their
    resolution grows, so that what a step works on stays in the processor's cache. Whole chunks of
    the last stage go to `threads` threads; their values come in the order of the channels, so the
    result does not depend on the threads.

    Args:
        steps: pytrees that are functions, of each stage, the image's first: from a cotangent of
            its result to one of its argument; the image's to the value itself.
        seeds: as in `scan_channels`.
        chunks: cotangents at once for each stage; each divides the next.
        threads: Python threads.
        progress: `progress(done, total)` is told of channels as they are finished.

    Yields:
        The first seed of a chunk, and the chunk's values in parts; the last chunk is filled up
        with zero cotangents, whose values are zero.
    """
    count = len(seeds)
    seeds = _whole_chunks(seeds, chunks[-1])

    def descend(level: int, cotangents: Array, start: int) -> list[Array]:
        """The values of `chunks[level]` cotangents from `start`, taken down to the image."""
        below = _step(steps[level], cotangents, start, chunk=chunks[level])
        if level == 0:
            return [below]
        parts = (descend(level - 1, below, i) for i in range(0, chunks[level], chunks[level - 1]))
        return [one for part in parts for one in part]

    def one(start: int) -> list[Array]:
        return jax.block_until_ready(descend(len(steps) - 1, seeds, start))

    starts = range(0, len(seeds), chunks[-1])
    # What compiles goes first and alone: two threads would compile the same twice.
    program = jax.tree.structure(steps), tuple(chunks), *current_settings().values()
    alone = int(program not in _COMPILED)
    _COMPILED.add(program)
    for start, values in zip(starts, in_threads(one, starts, threads, alone), strict=True):
        yield start, values
        if progress is not None:
            progress(min(start + chunks[-1], count), count)


_COMPILED: set[Any] = set()


def in_threads(one: Callable[[S], T], items: Iterable[S], threads: int, alone: int) -> Iterator[T]:
    """`map`, the first `alone` items here, the others a few at a time.

    While some are worked on the next ones are asked for, so that making them takes no time of its
    own; no more of them, since they may be large.
    """
    items = iter(items)
    yield from map(one, items if threads == 1 else islice(items, alone))
    if threads == 1:
        return
    settings, waiting = _settings(), deque[Future[T]]()

    def configured(item: S) -> T:
        with settings():
            return one(item)

    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(configured, item))
                if len(waiting) == AHEAD * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


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

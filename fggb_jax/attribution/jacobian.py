"""The channel engine: Σ_k c_k Ĝ_k over the gradients of an embedding's channels.

G_k = ∂F_k/∂I is one row of the Jacobian, Ĝ_k its normalised map. The rows are walked in chunks of
one-hot cotangents, pulled back through one forward pass, and summed as they come: the N×H×W×3
Jacobian never exists. Several rows of coefficients share the walk.

Two drivers go over one `accumulate`: a `scan`, which is traceable anywhere, and a Python loop
over one compiled step, which compiles least and, on a CPU, runs fastest.
"""

from __future__ import annotations

from collections.abc import Callable
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


_compiled_step = jax.jit(chunk_step, static_argnames=("chunk", "kind"), donate_argnums=0)


def drive_channels(
    pull: Pull,
    coefficients: Float[Array, "M N"],
    size: tuple[int, ...],
    chunk: int,
    kind: Gradient,
    progress: Callable[[int, int], None] | None = None,
) -> Float[Array, "M H W"]:
    """The same sum in the same order, as a Python loop over one compiled step.

    `progress(done, total)` is told of channels as they are finished.
    """
    rows, count = coefficients.shape
    total = jnp.zeros((rows, *size), coefficients.dtype)
    for start in range(0, count, chunk):
        total = _compiled_step(total, pull, coefficients, start, chunk=chunk, kind=kind)
        if progress is not None:
            total.block_until_ready()
            progress(min(start + chunk, count), count)
    return total

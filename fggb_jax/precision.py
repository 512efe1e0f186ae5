"""float32 that is float32 everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import jax


@contextmanager
def full_precision() -> Iterator[None]:
    """Products of float32 numbers as such, unless JAX has been told otherwise.

    Left alone, a GPU rounds their factors to TF32 and a TPU to bfloat16: cosines would differ from
    machine to machine, and thresholds measured on one need not hold on another.
    """
    if jax.config.jax_default_matmul_precision is not None:  # pyright: ignore[reportAttributeAccessIssue]
        yield
    else:
        with jax.default_matmul_precision("highest"):
            yield

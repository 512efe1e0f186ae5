"""Where JAX works unless told otherwise."""

from __future__ import annotations

from typing import Any

import jax

Device = Any  # a jax.Device, which type checkers take for a variable


def default_device() -> Device:
    """The device of `jax.default_device(…)`, else this process's first one."""
    chosen = jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue]
    return chosen if isinstance(chosen, jax.Device) else jax.local_devices(backend=chosen)[0]


def on_cpu() -> bool:
    """Whether that is a CPU."""
    return default_device().platform == "cpu"

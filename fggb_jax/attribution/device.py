"""Where JAX works unless told otherwise."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax

Device = Any  # a jax.Device, which type checkers take for a variable


def default_device() -> Device:
    """The device of `jax.default_device(…)`, else this process's first one."""
    chosen = jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue]
    return chosen if isinstance(chosen, jax.Device) else jax.local_devices(backend=chosen)[0]


def working_on(device: Device) -> AbstractContextManager[Any]:
    """Have JAX work on a device.

    Nothing is set where it does so anyway: JAX compiles all programs anew for a device that is
    named, be it the default one.
    """
    return nullcontext() if device == default_device() else jax.default_device(device)


def on_cpu() -> bool:
    """Whether that is a CPU."""
    return default_device().platform == "cpu"

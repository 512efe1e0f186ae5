"""Options of methods, refused in one wording."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fggb_jax.errors import OptionError


def whole(name: str, value: Any, least: int, most: int | None = None) -> int:
    """An option that is a whole number.

    Raises:
        OptionError: it is none, or not between `least` and `most`.
    """
    fits = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if fits and least <= value and (most is None or value <= most):
        return int(value)
    span = f", {least} or more" if most is None else f" from {least} to {most}"
    raise OptionError(f"{name} is {value!r}; give a whole number{span}")


def within(name: str, value: Any, low: float, high: float) -> float:
    """An option that lies between two numbers, neither of them included.

    Raises:
        OptionError: it does not.
    """
    if _is_number(value) and low < value < high:
        return float(value)
    span = f"above {low:g}" if math.isinf(high) else f"between {low:g} and {high:g}"
    raise OptionError(f"{name} is {value!r}; give a number {span}")


def not_negative(name: str, value: Any) -> float:
    """An option that is a finite number, 0 or more.

    Raises:
        OptionError: it is none.
    """
    if _is_number(value) and 0 <= value < math.inf:
        return float(value)
    raise OptionError(f"{name} is {value!r}; give a number, 0 or more")


def one_of(name: str, value: Any, allowed: Sequence[str]) -> None:
    """Refuse an option that is none of some words.

    Raises:
        OptionError: naming them.
    """
    if value not in allowed:
        raise OptionError(f"{name} is {value!r}; choose one of {', '.join(allowed)}")


def _is_number(value: Any) -> bool:
    known = isinstance(value, int | float | np.integer | np.floating)
    return known and not isinstance(value, bool)

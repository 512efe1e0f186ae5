"""Options of methods, refused in one wording."""

from __future__ import annotations

from typing import Any

import numpy as np

from fggb_jax.errors import OptionError


def check_count(name: str, value: Any, least: int = 1) -> None:
    """Refuse what is no whole number from `least` on.

    Raises:
        OptionError: in the words that the user needs.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise OptionError(f"{name} is {value!r}; give a whole number, {least} or more")


def check_size(name: str, value: Any) -> None:
    """Refuse what is no finite number from 0 on.

    Raises:
        OptionError: in the words that the user needs.
    """
    number = isinstance(value, int | float | np.integer | np.floating)
    if isinstance(value, bool) or not (number and 0 <= value < np.inf):
        raise OptionError(f"{name} is {value!r}; give a number, 0 or more")


def check_choice(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    """Refuse what is none of the words that are allowed.

    Raises:
        OptionError: in the words that the user needs.
    """
    if value not in allowed:
        raise OptionError(f"{name} is {value!r}; choose one of {', '.join(allowed)}")

"""Methods by name. A method explains one pair: (model, probe, gallery, threshold) → PairMaps."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fggb_jax.attribution.maps import PairMaps
from fggb_jax.errors import OptionError

_METHODS: dict[str, Method] = {}


@dataclass(frozen=True)
class Method:
    """A named attribution method.

    Attributes:
        name: what users type.
        title: one line for a table or a figure.
        explain: (model, probe, gallery, threshold, *, memory, progress, **options) → PairMaps; the
            images are (H, W, 3) float32 in [0, 1].
        options: each option's default.
        about: (model, threshold, options in full) → what a result records besides them.
        by_image: (model, devices, *, memory, **options) → `by_image.Walker`, where the method can
            explain an image for many partners at once; None where it goes pair by pair.
        where: options in full → whether it can with these.
    """

    name: str
    title: str
    explain: Callable[..., PairMaps]
    options: Mapping[str, Any]
    about: Callable[..., dict[str, Any]]
    by_image: Callable[..., Any] | None = None
    where: Callable[[Mapping[str, Any]], bool] = lambda options: True

    def walker(self, options: Mapping[str, Any]) -> Callable[..., Any] | None:
        """`by_image`, or None where the method goes pair by pair with these options."""
        return self.by_image if self.where(options) else None

    def check(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options in full, defaults included.

        Raises:
            OptionError: an option that this method does not have.
        """
        if unknown := sorted(options.keys() - self.options.keys()):
            raise OptionError(
                f"method {self.name!r} has no option {', '.join(unknown)}; it has "
                f"{', '.join(self.options) or 'none'}"
            )
        return {**self.options, **options}


# What every method takes: a budget in bytes, a callback, and the type of its products, or None.
SHARED = ("memory", "progress", "products")


def method(
    name: str, title: str, about: Callable[..., dict[str, Any]] = lambda *_: {}
) -> Callable[[Callable[..., PairMaps]], Callable[..., PairMaps]]:
    """Register a method; its options are the keyword-only parameters but those of `SHARED`."""

    def register(function: Callable[..., PairMaps]) -> Callable[..., PairMaps]:
        if name in _METHODS:
            raise ValueError(f"method {name!r} is registered twice")
        parameters = inspect.signature(function).parameters.values()
        options = {
            p.name: p.default
            for p in parameters
            if p.kind is p.KEYWORD_ONLY and p.name not in SHARED
        }
        _METHODS[name] = Method(name, title, function, options, about)
        return function

    return register


def by_image(
    name: str, where: Callable[[Mapping[str, Any]], bool] = lambda options: True
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register how a method explains an image for many partners at once, and with which options."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        _METHODS[name] = replace(find(name), by_image=function, where=where)
        return function

    return register


def methods() -> list[str]:
    """The names of all methods."""
    return sorted(_METHODS)


def find(name: str) -> Method:
    """A method by name.

    Raises:
        OptionError: there is none of that name.
    """
    if name not in _METHODS:
        raise OptionError(f"no method {name!r}; choose one of {', '.join(methods())}")
    return _METHODS[name]

"""Methods by name. A method explains one pair: (model, probe, gallery, threshold) → PairMaps.

Most are written for one image of the pair against the other's embedding (`face_method`); FGGB and
its kind work on both (`method`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax.numpy as jnp

from fggb_jax.attribution.comparison import Comparison
from fggb_jax.attribution.maps import FaceMap, PairMaps
from fggb_jax.errors import OptionError

Plane = Literal["pixels", "frequencies"]

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
        face: (`Comparison`, **options) → (H, W), of one image; None for methods of whole pairs.
        signed: whether its maps say what speaks for the match and what against it. One that only
            says how much a pixel matters, M ≥ 0, has P = cos·M and Q = M: S = (cos − t)·M, all of
            it similarity where the pair is accepted, dissimilarity where it is not.
        gradients: whether it needs them; the others explain a `BlackBox` too.
        movable: whether its maps can be had at another threshold without the network.
        plane: what its maps' axes are. Only a map of pixels can be laid over the face, or say which
            pixels to remove.
    """

    name: str
    title: str
    explain: Callable[..., PairMaps]
    options: Mapping[str, Any]
    about: Callable[..., dict[str, Any]]
    by_image: Callable[..., Any] | None = None
    where: Callable[[Mapping[str, Any]], bool] = lambda options: True
    face: Callable[..., Any] | None = None
    signed: bool = True
    gradients: bool = True
    movable: bool = True
    plane: Plane = "pixels"

    def map_of(self, comparison: Comparison, options: Mapping[str, Any]) -> FaceMap:
        """The map of one image, for methods that go image by image against an embedding."""
        assert self.face is not None
        values = jnp.asarray(self.face(comparison, **options), jnp.float32)
        t = jnp.asarray(comparison.threshold, jnp.float32)
        if self.signed:
            return FaceMap(values, jnp.zeros_like(values), t)
        return FaceMap(values * jnp.float32(comparison.cosine), values, t)

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
        _register(Method(name, title, function, _options(function), about))
        return function

    return register


def face_method(
    name: str,
    title: str,
    *,
    signed: bool = True,
    gradients: bool = True,
    movable: bool = True,
    plane: Plane = "pixels",
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a method that is written for one image: (`Comparison`, **options) → (H, W).

    Its options are its keyword-only parameters; the rest as of `Method`.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        def explain(
            model: Any,
            probe: Any,
            gallery: Any,
            threshold: float,
            *,
            memory: int | None = None,
            progress: Callable[[int, int], None] | None = None,
            products: Any = None,
            **options: Any,
        ) -> PairMaps:
            shared = {"memory": memory, "progress": progress}
            first = Comparison(model, probe, gallery, threshold, **shared)
            turned = first.embeddings[::-1]
            second = Comparison(model, gallery, probe, threshold, embeddings=turned, **shared)
            maps = [_METHODS[name].map_of(c, options) for c in (first, second)]
            return PairMaps(jnp.float32(first.cosine), *maps)

        _register(
            Method(
                name,
                title,
                explain,
                _options(function),
                lambda *_: {},
                face=function,
                signed=signed,
                gradients=gradients,
                movable=movable,
                plane=plane,
            )
        )
        return function

    return register


def _options(function: Callable[..., Any]) -> dict[str, Any]:
    """A method's options and their defaults."""
    parameters = inspect.signature(function).parameters.values()
    own = (p for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in SHARED)
    return {p.name: p.default for p in own}


def _register(chosen: Method) -> None:
    if chosen.name in _METHODS:
        raise ValueError(f"method {chosen.name!r} is registered twice")
    _METHODS[chosen.name] = chosen


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

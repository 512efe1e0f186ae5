"""A method as an evaluation names it: `fggb:gradient=signed:read=magnitude:smooth=3`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from fggb_jax.attribution import registry
from fggb_jax.attribution.maps import FaceMap
from fggb_jax.errors import OptionError
from fggb_jax.evaluation.judgement import Reading
from fggb_jax.gaussian import smooth

Read = Literal["signed", "magnitude", "pair_specific"]


@dataclass(frozen=True)
class MethodSpec:
    """A method, its options, and how its map is read.

    Attributes:
        text: as it was given; the name in every table.
        method: its name.
        options: the method's own, those that were given.
        read: "signed": what is positive speaks for the match; "magnitude": |S| for both;
            "pair_specific": P − cos·Q.
        smooth: σ in pixels of a Gaussian over S, before it is read.
    """

    text: str
    method: str
    options: tuple[tuple[str, Any], ...] = ()
    read: Read = "signed"
    smooth: float = 0.0

    @classmethod
    def parse(cls, text: str, shared: Mapping[str, Any] | None = None) -> MethodSpec:
        """Take `name:option=value:…` apart.

        Args:
            text: a method's name and, behind colons, its options, `read=` and `smooth=`.
            shared: options for whatever method has them, where the text does not say otherwise.

        Raises:
            OptionError: a method, option or reading that does not exist, or a value without a name.
        """
        name, *rest = text.strip().split(":")
        given = dict(_option(text, part) for part in rest)
        read, sigma = given.pop("read", "signed"), given.pop("smooth", 0)
        if read not in get_args(Read):
            raise OptionError(
                f"{text}: read is {read!r}; choose one of {', '.join(get_args(Read))}"
            )
        if not isinstance(sigma, int | float) or sigma < 0:
            raise OptionError(f"{text}: smooth is {sigma!r}; give a σ in pixels, 0 or more")
        known = registry.find(name).options
        options = {k: v for k, v in (shared or {}).items() if k in known} | given
        registry.find(name).check(options)
        return cls(text, name, tuple(sorted(options.items())), read, float(sigma))

    def reading(self, face: FaceMap, cosine: float) -> Reading:
        """What is judged of a map."""
        signed = np.asarray(face.signed)
        if not registry.find(self.method).signed:  # M, which is its Q
            signed = np.asarray(face.q)
        if self.read == "pair_specific":
            signed = np.asarray(face.p) - np.float32(cosine) * np.asarray(face.q)
        if self.read == "magnitude":
            signed = np.abs(signed)
        signed = smooth(signed, self.smooth)
        if self.read == "magnitude" or not registry.find(self.method).signed:
            return Reading(signed, signed)
        return Reading(signed.clip(min=0), (-signed).clip(min=0))


def _option(text: str, part: str) -> tuple[str, Any]:
    name, equals, value = part.partition("=")
    if not equals:
        raise OptionError(
            f"{text}: {part!r} is no option; write name:option=value, as in "
            "fggb:gradient=signed:smooth=3"
        )
    return name.strip(), _value(value.strip())


def _value(text: str) -> Any:
    """A number, a truth value, None, else the text itself."""
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text

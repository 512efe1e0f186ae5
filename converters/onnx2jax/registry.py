"""Which function implements which operator, at which opset.

An operator's Python signature is its ONNX schema: inputs positional (an absent optional input is
None), attributes keyword-only with the specification's names and defaults. The version is chosen
by the greatest registered `since` that is ≤ the model's opset, so a function is registered again
only where the semantics changed. A keyword-only `ctx` receives the call's `Context`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from onnx2jax.errors import InvalidModelError
from onnx2jax.graph import Node


@dataclass(frozen=True)
class Context:
    """What an operator may ask of its surroundings, beyond inputs and attributes."""

    n_outputs: int
    opset: int
    target: str  # the backend that the program is lowered for: "cpu", "gpu" or "tpu"


@dataclass(frozen=True)
class Operator:
    """One version of one operator."""

    name: str
    domain: str
    since: int
    function: Callable[..., Any]
    static: frozenset[str]  # the inputs that must be known when the function is traced

    @cached_property
    def _parameters(self) -> list[inspect.Parameter]:
        return list(inspect.signature(self.function).parameters.values())

    @cached_property
    def attributes(self) -> dict[str, inspect.Parameter]:
        """Keyword-only parameters, by name."""
        kind = inspect.Parameter.KEYWORD_ONLY
        return {p.name: p for p in self._parameters if p.kind is kind and p.name != "ctx"}

    @cached_property
    def wants_context(self) -> bool:
        return any(p.name == "ctx" for p in self._parameters)

    @cached_property
    def _positional(self) -> list[inspect.Parameter]:
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        return [p for p in self._parameters if p.kind in kinds]

    @cached_property
    def _variadic(self) -> bool:
        return any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in self._parameters)

    def static_slots(self, node: Node) -> list[str]:
        """The names of the values that this node needs as compile-time constants."""
        pairs = zip(self._positional, node.inputs, strict=False)
        return [name for p, name in pairs if name and p.name in self.static]

    def validate(self, node: Node) -> None:
        """Refuse a node whose inputs or attributes this operator does not have."""
        if unknown := sorted(node.attributes.keys() - self.attributes.keys()):
            raise InvalidModelError(f"{node} has attributes that {self} does not know: {unknown}")
        empty = inspect.Parameter.empty
        needed = {name for name, p in self.attributes.items() if p.default is empty}
        if missing := sorted(needed - node.attributes.keys()):
            raise InvalidModelError(f"{node} lacks the attributes {missing} that {self} requires")
        least = sum(p.default is empty for p in self._positional)
        most = None if self._variadic else len(self._positional)
        if len(node.inputs) < least or (most is not None and len(node.inputs) > most):
            raise InvalidModelError(
                f"{node} has {len(node.inputs)} inputs; {self} takes {least} to {most or 'any'}"
            )

    def __str__(self) -> str:
        return f"{self.domain + '.' if self.domain else ''}{self.name}-{self.since}"


_REGISTRY: dict[tuple[str, str], dict[int, Operator]] = {}


def op(
    name: str, since: int = 1, *, domain: str = "", static: Iterable[str] = ()
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function as `name` from opset `since` on.

    Args:
        name: the operator's ONNX name.
        since: the first opset at which this function is right.
        domain: the operator's domain; '' is ONNX's own.
        static: inputs that must be compile-time constants (shapes, axes …).

    Raises:
        ValueError: the same (domain, name, since) is registered already.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        versions = _REGISTRY.setdefault((domain, name), {})
        if since in versions:
            raise ValueError(f"{name}-{since} of domain {domain!r} is registered twice")
        versions[since] = Operator(name, domain, since, function, frozenset(static))
        return function

    return register


def find(domain: str, name: str, opset: int) -> Operator | None:
    """The operator's version in force at `opset`, or None where there is none."""
    versions = _REGISTRY.get((domain, name), {})
    since = max((v for v in versions if v <= opset), default=None)
    return None if since is None else versions[since]


def operators() -> list[Operator]:
    """Every registered operator and version, sorted."""
    every = (o for versions in _REGISTRY.values() for o in versions.values())
    return sorted(every, key=lambda o: (o.domain, o.name, o.since))

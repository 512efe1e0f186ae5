"""Which function implements which operator, at which opset.

An operator's Python signature is its ONNX schema: inputs positional (an absent optional input is
None), attributes keyword-only with the specification's names and defaults. The version is chosen
by the greatest registered `since` that is ≤ the model's opset, so a function is registered again
only where the semantics changed. A keyword-only `ctx` receives the call's `Context`.

Three kinds of inputs:

- those that must be known when the program is traced (`static`: shapes, axes), so that a graph's
  inputs behind them are known to be static before anything runs;
- those whose values decide how large a result is (`counted`: NonZero's), which need not be known
  where the caller gives a bound on the size;
- all others.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax

from onnx2jax.errors import InvalidModelError, OperatorError
from onnx2jax.graph import Node


@dataclass(frozen=True)
class Context:
    """What an operator may ask of its surroundings, beyond inputs and attributes."""

    n_outputs: int
    opset: int
    target: str  # the backend that the program is lowered for: "cpu", "gpu" or "tpu"
    max_size: int | None  # what a size that values decide is padded to; None: it is exact
    count: Callable[[Any], None]  # report how many entries of a padded result are real
    key: jax.Array | None  # of the caller's random numbers
    position: int  # of the node, by which its own numbers differ from others'
    call: Callable[..., tuple[Any, ...]]  # (graph, *inputs, step=0) → outputs of a subgraph
    gradient: Callable[..., tuple[Any, ...]]  # (y, xs, values) → dy/dx, by the graph's names

    def random_key(self, seed: float | None) -> jax.Array:
        """This node's key, from the caller's; without one from the file's seed."""
        if self.key is not None:
            return jax.random.fold_in(self.key, self.position)
        if seed is None:
            raise OperatorError(
                "it draws random numbers and the file gives no seed; call the model with "
                "key=jax.random.key(0)"
            )
        return jax.random.key(hash(seed) & 0xFFFFFFFF)


@dataclass(frozen=True)
class Operator:
    """One version of one operator."""

    name: str
    domain: str
    since: int
    function: Callable[..., Any]
    # The inputs that must be known when traced, or a node → the names of such values.
    static: frozenset[str] | Callable[[Node], Iterable[str]]
    counted: frozenset[str]  # the inputs whose values decide how large a result is

    @cached_property
    def _parameters(self) -> list[inspect.Parameter]:
        return list(inspect.signature(self.function).parameters.values())

    @cached_property
    def attributes(self) -> dict[str, inspect.Parameter]:
        """Keyword-only parameters, by name."""
        kind = inspect.Parameter.KEYWORD_ONLY
        return {p.name: p for p in self._parameters if p.kind is kind and p.name != "ctx"}

    @property
    def is_random(self) -> bool:
        """Whether it draws numbers, which are those of a call and not of the program."""
        return "seed" in self.attributes

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
        if not isinstance(self.static, frozenset):
            return [name for name in self.static(node) if name]
        return self._named(node, self.static)

    def counted_slots(self, node: Node) -> list[str]:
        """The names of the values that decide how large this node's outputs are."""
        return self._named(node, self.counted)

    def _named(self, node: Node, parameters: frozenset[str]) -> list[str]:
        """The node's values at the parameters of those names."""
        pairs = zip(self._positional, node.inputs, strict=False)
        return [value for p, value in pairs if value and p.name in parameters]

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
    name: str,
    since: int = 1,
    *,
    domain: str = "",
    static: Iterable[str] | Callable[[Node], Iterable[str]] = (),
    counted: Iterable[str] = (),
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function as `name` from opset `since` on.

    Args:
        name: the operator's ONNX name.
        since: the first opset at which this function is right.
        domain: the operator's domain; '' is ONNX's own.
        static: inputs that must be compile-time constants (shapes, axes …); a function of the node
            where that depends on it.
        counted: inputs whose values decide how large an output is.

    Raises:
        ValueError: the same (domain, name, since) is registered already.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        versions = _REGISTRY.setdefault((domain, name), {})
        if since in versions:
            raise ValueError(f"{name}-{since} of domain {domain!r} is registered twice")
        needed = static if callable(static) else frozenset(static)
        versions[since] = Operator(name, domain, since, function, needed, frozenset(counted))
        return function

    return register


def find(domain: str, name: str, opset: int) -> Operator | None:
    """The operator's version in force at `opset`, or None where there is none."""
    versions = _REGISTRY.get((domain, name), {})
    since = max((v for v in versions if v <= opset), default=None)
    return None if since is None else versions[since]


def table() -> str:
    """A Markdown table of the operators and the opsets from which each of our functions holds."""
    rows = [
        f"| {domain or 'ai.onnx'} | {name} | {', '.join(map(str, since))} |"
        for (domain, name), since in versions().items()
    ]
    return "\n".join(["| domain | operator | since |", "| --- | --- | --- |", *rows])


def versions() -> dict[tuple[str, str], list[int]]:
    """The opsets from which our functions hold, by the operator's domain and name, sorted."""
    return {names: sorted(versions) for names, versions in sorted(_REGISTRY.items())}


def operators() -> list[Operator]:
    """Every registered operator and version, sorted."""
    every = (o for versions in _REGISTRY.values() for o in versions.values())
    return sorted(every, key=lambda o: (o.domain, o.name, o.since))

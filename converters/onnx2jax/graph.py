"""A frozen graph: nodes with their attributes decoded, constants as NumPy. It needs no onnx."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class TensorSpec:
    """Name, dtype and shape of a graph's input or output.

    A dimension is an int, a str (named in the file) or None (unknown); `shape` is None where the
    rank itself is unknown, `dtype` where the file does not state it (that of strings is object).
    `kind` is "tensor", "sequence" (a tuple of arrays, `dtype` and `shape` being their own) or
    "optional" (any of the two, or None).
    """

    name: str
    dtype: np.dtype | None
    shape: tuple[int | str | None, ...] | None
    kind: str = "tensor"

    @property
    def single(self) -> tuple[int, ...] | None:
        """The shape, a free leading dimension taken as 1; None where another one is free."""
        if self.shape is None:
            return None
        leading = [d if isinstance(d, int) else 1 for d in self.shape[:1]]
        rest = [d for d in self.shape[1:] if isinstance(d, int)]
        return (*leading, *rest) if len(rest) == len(self.shape[1:]) else None


@dataclass(frozen=True)
class Node:
    """One operator call; an absent optional input or an unused output is ''."""

    op: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    @property
    def subgraphs(self) -> tuple[Graph, ...]:
        """The bodies that it holds: of a loop, of branches."""
        return tuple(v for v in self.attributes.values() if isinstance(v, Graph))

    @property
    def reads(self) -> tuple[str, ...]:
        """The names that it reads, those that its subgraphs take from around them included."""
        return (*self.inputs, *(name for body in self.subgraphs for name in body.free))

    def __str__(self) -> str:
        label = self.name or (self.outputs[0] if self.outputs else "?")
        return f"{self.domain + '.' if self.domain else ''}{self.op} node {label!r}"


@dataclass(frozen=True)
class Graph:
    """Nodes in topological order, and every constant that the file holds."""

    name: str
    nodes: tuple[Node, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    constants: Mapping[str, np.ndarray]
    initializers: frozenset[str]  # those of `constants` that the file keeps as weights
    opsets: Mapping[str, int]

    @property
    def free(self) -> frozenset[str]:
        """The names that it reads and does not hold: those of the graph around it."""
        read = {name for node in self.nodes for name in node.reads if name}
        read.update(spec.name for spec in self.outputs)
        own = {name for node in self.nodes for name in node.outputs}
        return frozenset(read - own - self.constants.keys() - {spec.name for spec in self.inputs})

    def walk(self) -> Iterator[Node]:
        """Every node, those of subgraphs included."""
        for node in self.nodes:
            yield node
            for body in node.subgraphs:
                yield from body.walk()

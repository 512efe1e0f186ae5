"""Sequences, which are tuples, and optionals, which are None where they are empty.

An operator that returns a sequence returns it inside a tuple: a tuple alone is several outputs.
"""

from __future__ import annotations

import numpy as np

from onnx2jax.registry import op
from onnx2jax.values import ints, namespace


@op("SequenceConstruct")
def SequenceConstruct(*values):
    return (values,)


@op("SequenceEmpty")
def SequenceEmpty(*, dtype=None):
    return ((),)


@op("SequenceAt", static=("position",))
def SequenceAt(sequence, position):
    return sequence[_index(sequence, position, len(sequence))]


@op("SequenceInsert", static=("position",))
def SequenceInsert(sequence, tensor, position=None):
    at = len(sequence) if position is None else _index(sequence, position, len(sequence) + 1)
    return ((*sequence[:at], tensor, *sequence[at:]),)


@op("SequenceErase", static=("position",))
def SequenceErase(sequence, position=None):
    at = len(sequence) - 1 if position is None else _index(sequence, position, len(sequence))
    return ((*sequence[:at], *sequence[at + 1 :]),)


def _index(sequence, position, end):
    """A position from the end counts the elements that there are."""
    (at,) = ints(position)
    at = at + len(sequence) if at < 0 else at
    if not 0 <= at < end:
        raise ValueError(f"position {at} is not in a sequence of {len(sequence)}")
    return at


@op("SequenceLength")
def SequenceLength(sequence):
    return np.asarray(len(sequence), np.int64)


@op("SplitToSequence", static=("split",))
def SplitToSequence(x, split=None, *, axis=0, keepdims=1):
    size = x.shape[axis]
    if split is None:
        parts = namespace(x).split(x, size, axis) if size else []
        return (tuple(parts if keepdims else [p.squeeze(axis) for p in parts]),)
    sizes = ints(split)
    if np.ndim(split) == 0:  # equal parts, the last one smaller where it must be
        sizes = [min(sizes[0], size - start) for start in range(0, size, sizes[0])]
    if sum(sizes) != size:
        raise ValueError(f"parts of {sizes} do not add up to {size}")
    return (tuple(namespace(x).split(x, np.cumsum(sizes)[:-1].tolist(), axis)),)


@op("ConcatFromSequence")
def ConcatFromSequence(sequence, *, axis, new_axis=0):
    xp = namespace(*sequence)
    return xp.stack(sequence, axis) if new_axis else xp.concatenate(sequence, axis)


@op("SequenceMap", 17)
def SequenceMap(sequence, *others, body, ctx):
    rows = [
        ctx.call(body, x, *(o[i] if isinstance(o, tuple) else o for o in others), step=i)
        for i, x in enumerate(sequence)
    ]
    return tuple(zip(*rows, strict=True)) if rows else ((),) * ctx.n_outputs


@op("Optional", 15)
def Optional(x=None, *, type=None):
    return (x,)


@op("OptionalGetElement", 15)
def OptionalGetElement(x):
    if x is None:
        raise ValueError("the optional is empty")
    return (x,)


@op("OptionalHasElement", 15)
def OptionalHasElement(x=None):
    return np.asarray(x is not None)

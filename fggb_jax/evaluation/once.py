"""What is the same for all methods, or for all judges of a map, is computed once for a pair."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from fggb_jax.evaluation.judgement import Case

T = TypeVar("T")

_KEPT: WeakKeyDictionary[Case, dict[Hashable, Any]] = WeakKeyDictionary()


def once(case: Case, key: Hashable, make: Callable[[], T]) -> T:
    """What `make` returns, kept as long as the case lives.

    Args:
        case: whose result it is; another case of the same pair has results of its own.
        key: what it is; begin it with the judge's name. A map is named by a digest: a benchmark
            holds many cases, each judged with many maps.
        make: called at most once for a case and key.
    """
    kept = _KEPT.setdefault(case, {})
    if key not in kept:
        kept[key] = make()
    return kept[key]


def is_kept(case: Case, key: Hashable) -> bool:
    """Whether `once` has it already."""
    return key in _KEPT.get(case, {})

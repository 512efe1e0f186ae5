"""Statistics that compare methods on the same pairs: means, differences, and who really wins.

Scores are a matrix, one row a method and one column a pair, NaN where a score makes no sense. Pairs
differ far more than methods do, so that methods are compared pair by pair:

- intervals: percentile bootstrap over pairs (Efron, "Bootstrap Methods: Another Look at the
  Jackknife", 1979). A resample draws the same pairs for all methods.
- p: the sign-flip permutation test of the mean difference d̄. Where two methods are alike, each
  pair's difference d_i could as well have the other sign: p = P(|Σ ±d_i| ≥ |Σ d_i|) over all signs.
- many comparisons: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979; of m
  values in rising order p_(i) becomes max over j ≤ i of (m − j + 1)·p_(j), at most 1.

Pairs are taken as independent. Where images or persons recur in many pairs, intervals are too
narrow and p too small; `resampling.bootstrap` says by how much that can be.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from fggb_jax.errors import OptionError
from fggb_jax.evaluation.judgement import Better

RESAMPLES = 2000
FLIPS = 9999  # with the signs as they are, ten thousand: the least p is 1e-4
LEVEL = 0.05
_EXACT = 13  # up to so many pairs all signs are tried: 2^13 is less than `FLIPS`
_AT_ONCE = 1 << 22  # entries of what is drawn at once


class Means(NamedTuple):
    """A mean over pairs with its 95 % interval, for each of M methods.

    Attributes:
        mean: (M,); NaN where a method has no score.
        low: (M,); NaN where it has fewer than two.
        high: (M,).
        pairs: (M,) how many have a score.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    pairs: np.ndarray


class Differences(NamedTuple):
    """Each of M methods less a reference, over the pairs for which both have a score.

    Attributes:
        mean: (M,).
        low: (M,) of the 95 % interval.
        high: (M,).
        p: (M,) two-sided; NaN where fewer than two pairs can be compared.
        adjusted: (M,) p after Holm's correction for the comparisons that are made.
        pairs: (M,) how many are compared.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray
    adjusted: np.ndarray
    pairs: np.ndarray

    def better(self, better: Better = "higher") -> np.ndarray:
        """(M,) bool: better than the reference, by the interval and by the corrected test."""
        beyond = self.low > 0 if better == "higher" else self.high < 0
        return np.asarray(beyond & (self.adjusted <= LEVEL))


def means(values: Any, *, resamples: int = RESAMPLES, seed: int = 0) -> Means:
    """Mean and 95 % bootstrap interval of each method.

    Args:
        values: (M, P), NaN where a method has no score for a pair.
        resamples: their number, 2 at least.
        seed: the same seed and the same number of pairs give the same resamples.

    Raises:
        OptionError: not a matrix of numbers, an infinite one, or fewer than 2 resamples.

    Example:
        >>> found = means([[1.0, 2.0, 3.0], [5.0, 5.0, float("nan")]])
        >>> found.mean.tolist(), found.pairs.tolist()
        ([2.0, 5.0], [3, 2])
    """
    values = _matrix(values)
    if resamples < 2:
        raise OptionError(f"{resamples} resamples; an interval takes 2 at least, better 1,000")
    known = ~np.isnan(values)
    pairs, filled = known.sum(1), np.where(known, values, 0)
    low, high = _interval(filled, known, resamples, seed)
    enough = pairs >= 2
    return Means(
        _ratio(filled.sum(1), pairs),
        np.where(enough, low, np.nan),
        np.where(enough, high, np.nan),
        pairs,
    )


def differences(
    values: Any, reference: Any, *, resamples: int = RESAMPLES, flips: int = FLIPS, seed: int = 0
) -> Differences:
    """Each method less a reference: mean, 95 % interval, p, and p after Holm.

    Args:
        values: (M, P), NaN where a method has no score for a pair.
        reference: (P,) the scores of what the methods are compared with; or (M, P), a reference
            for each of them.
        resamples: of the interval.
        flips: of the test, where there are too many pairs to try all signs.
        seed: of both.

    Raises:
        OptionError: as of `means`, or a reference of another shape.

    Example:
        >>> found = differences([[1.0, 2.0, 4.0], [0.0, 0.0, 0.0]], [0.0, 0.0, 0.0])
        >>> found.p.tolist()  # of 8 ways to set three signs 2 are as far from 0
        [0.25, 1.0]
    """
    values = _matrix(values)
    reference = np.asarray(reference, np.float64)
    if reference.shape not in (values.shape, values.shape[1:]):
        raise OptionError(
            f"a reference of shape {reference.shape} for scores of {values.shape}; give one score "
            "for each pair"
        )
    found = means(values - reference, resamples=resamples, seed=seed)
    p = _sign_flip(values - reference, flips, seed)
    return Differences(found.mean, found.low, found.high, p, holm(p), found.pairs)


def beats(values: Any, baselines: Any, better: Better = "higher", *, seed: int = 0) -> np.ndarray:
    """Which methods beat every one of the trivial baselines.

    A method does where its difference to each baseline has the right sign, an interval without 0
    and p ≤ 0.05 after Holm's correction for all comparisons of all these methods and baselines.

    Args:
        values: (M, P), NaN where a method has no score for a pair.
        baselines: (K, P), K ≥ 1.
        better: whether "higher" scores are better or "lower" ones.
        seed: as of `means`.

    Returns:
        (M,) bool. What cannot be compared with a baseline, for want of scores, does not beat it.

    Raises:
        OptionError: as of `means`, or baselines of another number of pairs.
    """
    values, baselines = _matrix(values), _matrix(baselines)
    if not len(baselines) or baselines.shape[1] != values.shape[1]:
        raise OptionError(
            f"baselines of shape {baselines.shape} for scores of {values.shape}; give (K, P), one "
            "at least"
        )
    methods, count = len(values), len(baselines)
    found = differences(
        np.repeat(values, count, axis=0), np.tile(baselines, (methods, 1)), seed=seed
    )
    return np.asarray(found.better(better).reshape(methods, count).all(1))


def holm(p: Any) -> np.ndarray:
    """P-values corrected for their number by Holm's method; NaN stays and does not count.

    Example:
        >>> holm([0.01, 0.04, 0.03]).tolist()
        [0.03, 0.06, 0.06]
    """
    p = np.asarray(p, np.float64)
    adjusted = np.full_like(p, np.nan)
    order = np.argsort(p)[: int((~np.isnan(p)).sum())]  # NaN are sorted last
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * p[order]), 1)
    return adjusted


def _interval(
    filled: np.ndarray, known: np.ndarray, resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The quantiles of each row's mean over resampled columns."""
    rng, columns = np.random.default_rng(seed), filled.shape[1]
    even = np.full(columns, 1 / max(columns, 1))
    drawn = []
    for rows in _parts(resamples, columns):
        times = rng.multinomial(columns, even, rows).astype(np.float64)
        drawn.append(_ratio(times @ filled.T, times @ known.T))
    found = np.concatenate(drawn)
    low, high = np.full((2, len(filled)), np.nan)
    for method, column in enumerate(found.T):
        # A resample may have none of the few pairs that have a score.
        if (there := column[~np.isnan(column)]).size:
            low[method], high[method] = np.quantile(there, [LEVEL / 2, 1 - LEVEL / 2])
    return low, high


def _sign_flip(differences: np.ndarray, flips: int, seed: int) -> np.ndarray:
    """(M,) two-sided p of the mean difference being 0; the same signs for all rows."""
    known = ~np.isnan(differences)
    filled = np.where(known, differences, 0)
    columns = filled.shape[1]
    observed = np.abs(filled.sum(1))
    # Sums of the same numbers in another order differ by their rounding.
    least = observed - 1e-12 * np.abs(filled).sum(1)
    exact = columns <= _EXACT
    rng = np.random.default_rng(seed)
    count, tried = np.zeros(len(filled)), 0
    for rows in _parts(1 << columns if exact else flips, columns):
        if exact:
            bits = np.arange(tried, tried + rows)[:, None] >> np.arange(columns) & 1
        else:
            bits = rng.integers(0, 2, (rows, columns), np.int8)
        count += (np.abs((2.0 * bits - 1) @ filled.T) >= least).sum(0)
        tried += rows
    p = count / tried if exact else (count + 1) / (tried + 1)
    return np.where(known.sum(1) >= 2, p, np.nan)


def _parts(count: int, columns: int) -> Iterator[int]:
    """How many rows to draw at a time, `count` in all."""
    rows = max(1, _AT_ONCE // max(columns, 1))
    for start in range(0, count, rows):
        yield min(rows, count - start)


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The ratio, NaN where b is 0."""
    return np.divide(a, b, out=np.full(np.shape(a), math.nan), where=b > 0)


def _matrix(values: Any) -> np.ndarray:
    """(M, P) float64.

    Raises:
        OptionError: another shape, or an infinite score.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 2:
        raise OptionError(
            f"scores of shape {values.shape}; give a row for each method, a column for each pair"
        )
    if np.isinf(values).any():
        raise OptionError("a score is infinite; give NaN where there is none")
    return values

"""What the records of an evaluation say together: means, intervals, comparisons, tables.

All scores are made for single pairs, so that a table's figure is a mean over pairs, its interval
comes from drawing pairs, and two methods are compared on the same pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from fggb_jax.evaluation.evaluate import RUNTIME
from fggb_jax.evaluation.judgement import Better, Judge
from fggb_jax.evaluation.paired import beats, means
from fggb_jax.evaluation.records import Record
from fggb_jax.report.markdown import table as markdown_table

BASELINES = ("centre", "random", "image_mean")


@dataclass(frozen=True)
class Summary:
    """One score of one method over all pairs.

    Attributes:
        mean: over the pairs that have it.
        low: of its 95 % interval.
        high: of it.
        pairs: how many have it.
        beats_baselines: whether it is better than every trivial baseline that was measured; False
            for these themselves, None where none was.
    """

    mean: float
    low: float
    high: float
    pairs: int
    beats_baselines: bool | None


def score_matrix(
    records: Sequence[Record], judge: str, score: str, methods: Sequence[str], pairs: int
) -> Float[np.ndarray, "M P"]:
    """One score of all methods and pairs; NaN where there is none."""
    row = {method: i for i, method in enumerate(methods)}
    values = np.full((len(methods), pairs), np.nan)
    for r in records:
        if r["judge"] == judge and r["method"] in row and "scores" in r:
            value = r["scores"].get(score)
            if value is not None:
                values[row[r["method"]], r["pair"]] = value
    return values


def mean_curve(
    records: Sequence[Record], judge: str, curve: str, method: str
) -> Float[np.ndarray, " S"] | None:
    """The mean of a curve over the pairs that have it; None where no pair does."""
    found = [
        r["scores"][curve]
        for r in records
        if r["judge"] == judge and r["method"] == method and curve in r.get("scores", {})
    ]
    whole = [values for values in found if values and None not in values]
    return np.mean(np.asarray(whole, np.float64), axis=0) if whole else None


def summaries(
    records: Sequence[Record], judges: Sequence[Judge], methods: Sequence[str], pairs: int
) -> dict[str, dict[str, dict[str, Summary]]]:
    """Judge → score → method → its summary; what no pair has is left out."""
    found: dict[str, dict[str, dict[str, Summary]]] = {}
    for judge in judges:
        found[judge.name] = {}
        for score, better in judge.scores.items():
            values = score_matrix(records, judge.name, score, methods, pairs)
            if by_method := _summarized(values, methods, better):
                found[judge.name][score] = by_method
    return found


def _summarized(
    values: Float[np.ndarray, "M P"], methods: Sequence[str], better: Better
) -> dict[str, Summary]:
    measured = np.flatnonzero(~np.isnan(values).all(axis=1))
    names, values = [methods[i] for i in measured.tolist()], values[measured]
    if not names:
        return {}
    trivial = np.array([name.split(":")[0] in BASELINES for name in names])
    won: list[bool | None] = [False if any(trivial) else None] * len(names)
    if trivial.any() and not trivial.all():
        wins = beats(values[~trivial], values[trivial], better)
        for i, win in zip(np.flatnonzero(~trivial), wins.tolist(), strict=True):
            won[i] = win
    found = means(values)
    columns = (found.mean, found.low, found.high, found.pairs, won)
    return {
        name: Summary(float(mean), float(low), float(high), int(count), win)
        for name, mean, low, high, count, win in zip(names, *columns, strict=True)
    }


def runtimes(
    records: Sequence[Record], methods: Sequence[str], pairs: int
) -> dict[str, dict[str, float]]:
    """Method → seconds, passes, and how often its maps were empty.

    The median of the seconds, since the first pair's compile programs.
    """
    names = ("seconds", "forwards", "backwards", "similarity_empty", "dissimilarity_empty")
    values = {n: score_matrix(records, RUNTIME, n, methods, pairs) for n in names}
    found: dict[str, dict[str, float]] = {}
    for i, method in enumerate(methods):
        if not np.isnan(values["seconds"][i]).all():
            found[method] = {
                name: float((np.nanmedian if name == "seconds" else np.nanmean)(v[i]))
                for name, v in values.items()
            }
    return found


@dataclass(frozen=True)
class Table:
    """A table of plain text.

    Attributes:
        title: one line.
        header: of each column.
        rows: as many cells each.
        quoted: what is said below it.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    quoted: str = ""


NOTE = (
    "Mean over pairs ± half the width of its 95 % bootstrap interval; ↑ higher is better, ↓ lower. "
    "Bold: better than every trivial baseline (centre, random, image_mean) that was measured, by a "
    "paired test with Holm's correction on the pairs that both have. n: of how many pairs, where "
    "they are fewer than another method's, most often because maps were empty: such a mean is of "
    "other pairs."
)


def tables(
    summary: Mapping[str, Mapping[str, Mapping[str, Summary]]],
    times: Mapping[str, Mapping[str, float]],
    judges: Sequence[Judge],
    methods: Sequence[str],
) -> list[Table]:
    """A table for each judge, and one for the cost."""
    found = []
    for judge in judges:
        scores = [s for s in judge.scores if s in summary[judge.name]]
        arrows = {"higher": "↑", "lower": "↓"}
        header = ("method", *(f"{s.replace('_', ' ')} {arrows[judge.scores[s]]}" for s in scores))
        rows = [(f"`{m}`", *(cell(summary[judge.name][s], m) for s in scores)) for m in methods]
        found.append(Table(judge.title, header, tuple(rows) if scores else (), judge.quoted))
    header = ("method", "seconds a map", "forward passes", "backward passes")
    header += ("similarity empty", "dissimilarity empty")
    rows = [
        (
            *(f"`{m}`", f"{t['seconds']:.2f}", f"{t['forwards']:.0f}", f"{t['backwards']:.0f}"),
            *(f"{t[name]:.0%}" for name in ("similarity_empty", "dissimilarity_empty")),
        )
        for m, t in times.items()
    ]
    return [*found, Table("Cost of a map", header, tuple(rows))]


def markdown(tables: Sequence[Table]) -> str:
    """All tables as Markdown."""
    parts = []
    for table in tables:
        body = (
            markdown_table(table.header, table.rows) if table.rows else "No pair can be judged so."
        )
        parts += [f"## {table.title}", body, *filter(None, [table.quoted])]
    return "\n\n".join([NOTE, *parts]) + "\n"


def cell(by_method: Mapping[str, Summary], method: str) -> str:
    """A mean, and of how many pairs where other methods have more: theirs is then no fair rival."""
    if (found := by_method.get(method)) is None:
        return "–"
    digits = 1 if abs(found.mean) >= 10 else 3
    text = f"{found.mean:.{digits}f}"
    if found.pairs > 1:
        text += f" ± {(found.high - found.low) / 2:.{digits}f}"
    text = f"**{text}**" if found.beats_baselines else text
    fewer = found.pairs < max(other.pairs for other in by_method.values())
    return f"{text} (n={found.pairs})" if fewer else text

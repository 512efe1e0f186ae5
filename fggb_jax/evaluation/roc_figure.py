"""Verification as a matplotlib figure: the ROC of several models, and their scores.

Made without pyplot and without global state. Nothing is drawn where nothing is measured: a curve
begins at an FMR of one impostor pair.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, NullFormatter

from fggb_jax.errors import OptionError
from fggb_jax.evaluation.rates import accepted_at, auc, checked, eer, errors_at, percent, tally
from fggb_jax.evaluation.resampling import RESAMPLES, tar_band
from fggb_jax.report.text import FONT, printable

_INK, _GREY, _HAIR, _BLANK = "#1b1d21", "#5f656e", "#c9cdd3", "#eef0f2"
_MODELS = ("#1f5f99", "#c2571a", "#2f7d5b", "#8a3f86", "#8a7420", "#4b4f58")
_LINES = ("-", "--", ":")  # for the second and the third six models
_GENUINE, _IMPOSTOR = ("#f0c7a4", "#b3470b"), ("#b9d2e8", "#1f5f99")  # decided rightly, wrongly
_FLOORS = (0.999, 0.995, 0.99, 0.98, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.2, 0.0)
_BINS = 60
_ABOVE = 0.46  # inches above the highest bar


@dataclass(frozen=True, eq=False)
class Scored:
    """A model's scores, to be drawn.

    Attributes:
        name: of the model.
        scores: (P,) finite cosines.
        same: (P,) bool, or 0 and 1.
        threshold: the cosine from which pairs are accepted; None takes that of the EER.
    """

    name: str
    scores: Any
    same: Any
    threshold: float | None = None


def draw(models: Sequence[Scored], *, resamples: int = RESAMPLES, seed: int = 0) -> Figure:
    """The ROC on a logarithmic FMR axis with 95 % bands; beside it each model's scores.

    Args:
        models: one to eighteen.
        resamples: of the bands.
        seed: of the bands.

    Raises:
        OptionError: no model or too many, or scores that allow no measurement.
    """
    if not 1 <= len(models) <= len(_MODELS) * len(_LINES):
        raise OptionError(f"{len(models)} models; one to {len(_MODELS) * len(_LINES)} can be drawn")
    height = max(5.4, 1.3 + 1.75 * len(models))
    figure = Figure(figsize=(12.4, height), facecolor="white")
    FigureCanvasAgg(figure)
    top, bottom = 1 - 0.62 / height, 0.92 / height
    left = figure.add_axes((0.07, bottom, 0.45, top - bottom))
    _rates(left, models, resamples, seed)
    rows = len(models)
    gap = 0.62 / height
    each = (top - bottom - gap * (rows - 1)) / rows
    for i, model in enumerate(models):
        axes = figure.add_axes((0.58, top - each - i * (each + gap), 0.4, each))
        _scores(axes, model, _MODELS[i % len(_MODELS)], each * height, last=i == rows - 1)
    foot = (
        f"Bands: 95 % bootstrap over pairs, {resamples:,} resamples; pairs that share an image are "
        "not independent, which the bands do not show.  Grey: an FMR of less than one impostor "
        "pair is not measured."
    )
    _say(figure.text(0.07, 0.18 / height, foot), size=7.4, color=_GREY)
    return figure


def _rates(axes: Axes, models: Sequence[Scored], resamples: int, seed: int) -> None:
    limits, lows = [], []
    for i, model in enumerate(models):
        scores, same = checked(model.scores, model.same)
        color, style = _MODELS[i % len(_MODELS)], _LINES[i // len(_MODELS)]
        fars = _grid(int((~same).sum()))
        tar = accepted_at(tally(scores, same)[1], fars)[0][0]
        low, high = tar_band(scores, same, fars, resamples=resamples, seed=seed)
        rate, threshold = eer(scores, same)
        label = f"{model.name}   EER {percent(rate)},  AUC {auc(scores, same):.5f}"
        axes.fill_between(fars, low, high, step="post", color=color, alpha=0.14, lw=0)
        axes.plot(
            fars, tar, style, color=color, lw=1.7, drawstyle="steps-post", label=printable(label)
        )
        at = model.threshold if model.threshold is not None else threshold
        fmr, fnmr = errors_at(scores, same, at)
        if fmr >= fars[0]:
            axes.plot(fmr, 1 - fnmr, "o", color=color, ms=6.5, mec="white", mew=1.2, zorder=4)
        limits.append(fars[0])
        lows.append(min(low[0], 1 - fnmr))
    start = 10 ** np.floor(np.log10(min(limits)) - 0.2)
    floor = next(f for f in _FLOORS if f <= max(0.0, min(lows) - 0.1 * (1 - min(lows))))
    axes.set(xscale="log", xlim=(start, 1), ylim=(floor, 1 + 0.02 * (1 - floor)))
    axes.axvspan(start, min(limits), color=_BLANK, lw=0, zorder=0)
    for i, limit in enumerate(limits):
        if limit > min(limits):
            axes.axvline(limit, color=_MODELS[i % len(_MODELS)], lw=0.8, ls=":", zorder=1)
    grid = np.geomspace(start, 1, 400)
    axes.plot(grid, 1 - grid, color=_GREY, lw=0.8, ls=(0, (2, 3)), zorder=1)
    _say(
        axes.text(start, floor, "not measured", rotation=90),
        size=7.4,
        color=_GREY,
        position=(np.sqrt(start * min(limits)), floor + 0.03 * (1 - floor)),
        ha="center",
        va="bottom",
    )
    _finish(axes)
    axes.grid(True, color=_HAIR, lw=0.5, alpha=0.7)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:.6g} %"))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * x:.6g} %"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    _say(axes.set_xlabel("FMR: impostor pairs accepted"), size=9.5, color=_INK)
    _say(axes.set_ylabel("TAR: genuine pairs accepted"), size=9.5, color=_INK)
    _say(axes.set_title("ROC", loc="left", pad=8), size=12, color=_INK, weight="bold")
    legend = axes.legend(
        loc="lower right", frameon=True, framealpha=0.8, edgecolor="none", handlelength=1.6
    )
    for text in legend.get_texts():
        _say(text, size=8.6, color=_INK)
    note = "dots: at the threshold;  dashes: FMR = FNMR"
    _say(axes.set_title(note, loc="right", pad=8), size=7.8, color=_GREY)


def _scores(axes: Axes, model: Scored, color: str, height: float, *, last: bool) -> None:
    """Both histograms, each kind's bars adding up to 1; `height` of the axes in inches."""
    scores, same = checked(model.scores, model.same)
    threshold = model.threshold if model.threshold is not None else eer(scores, same).threshold
    # A bin begins at the threshold, so that each has one colour.
    width = np.ptp(scores) / _BINS
    below = int(np.ceil(max(0.0, threshold - scores.min()) / width)) + 1
    above = int(np.ceil(max(0.0, scores.max() - threshold) / width)) + 1
    edges = threshold + width * np.arange(-below, above + 1)
    kinds = ((same, True, _GENUINE, "genuine"), (~same, False, _IMPOSTOR, "impostor"))
    shares = [np.histogram(scores[kind], edges)[0] / kind.sum() for kind, *_ in kinds]
    tall = max(share.max() for share in shares)
    for share, (_, accepted, (pale, strong), word) in zip(shares, kinds, strict=True):
        right = (edges[:-1] >= threshold) == accepted
        for part, tint, above_others in ((right, pale, 1.0), (~right, strong, 1.2)):
            axes.bar(
                edges[:-1][part],
                share[part],
                width,
                align="edge",
                color=tint,
                alpha=0.85,
                lw=0,
                zorder=above_others,
            )
        axes.stairs(share, edges, color=strong, lw=1.0)
        peak = edges[share.argmax()] + width / 2
        place = {"xytext": (0, 3), "textcoords": "offset points"}
        label = axes.annotate(word, (peak, share.max()), **place)
        _say(label, size=8.6, color=strong, ha="center", va="bottom")
    axes.axvline(threshold, color=_INK, lw=1.1)
    room = height / max(height - _ABOVE, height / 2)  # for the words above the highest bar
    axes.set(ylim=(0, tall * room), xlim=(edges[0] - width, edges[-1] + width))
    _finish(axes)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    rejected, accepted = (scores < threshold) & same, (scores >= threshold) & ~same
    for x, ha, words, tint in (
        (0, "left", f"{rejected.sum():,} of {same.sum():,} genuine rejected", _GENUINE),
        (1, "right", f"{accepted.sum():,} of {(~same).sum():,} impostors accepted", _IMPOSTOR),
    ):
        text = axes.text(x, 0.99, words, transform=axes.transAxes, ha=ha)
        over = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}  # where it meets the line
        _say(text, size=8.2, va="top", color=tint[1], bbox=over)
    name = textwrap.shorten(model.name, 44, placeholder="…")
    _say(axes.set_title(name, loc="left", pad=8), size=10, color=color, weight="bold")
    chosen = f"threshold {threshold:.4f}".replace("-", "−")
    _say(axes.set_title(chosen, loc="right", pad=8), size=8.6, color=_INK)
    if last:
        _say(axes.set_xlabel("cosine"), size=9.5, color=_INK)


def _grid(impostors: int) -> np.ndarray:
    """(G,) FARs from one impostor to all: every step at first, then a few hundred."""
    first = np.arange(1, min(impostors, 200) + 1) / impostors
    return np.unique(np.append(first, np.geomspace(1 / impostors, 1, 200).clip(1 / impostors, 1)))


def _finish(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("bottom", "left"):
        axes.spines[side].set(color=_HAIR, linewidth=0.8)
    axes.tick_params(which="both", color=_HAIR, labelcolor=_INK, labelsize=8.5, width=0.8)
    axes.tick_params(labelfontfamily=FONT)
    axes.set_axisbelow(True)


def _say(text: Text, **style: Any) -> None:
    """Plain text: a `$` in a model's name is no mathematics, a letter without a glyph no error."""
    text.set(text=printable(text.get_text()), parse_math=False, family=FONT, **style)

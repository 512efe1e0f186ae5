"""The curves of an evaluation, one panel each, all methods in it; made without pyplot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fggb_jax.evaluation.judgement import Judge
from fggb_jax.evaluation.map_table import BASELINES, mean_curve
from fggb_jax.evaluation.records import Record
from fggb_jax.report.text import FONT, printable

_INK, _GREY, _HAIR = "#1b1d21", "#5f656e", "#c9cdd3"
_COLORS = ("#1f5f99", "#c2571a", "#2f7d5b", "#8a3f86", "#8a7420", "#4b4f58", "#b3470b", "#2d8a99")
_LINES = ("-", "--", "-.", ":")
_COLUMNS = 3


def draw(
    records: Sequence[Record], judges: Sequence[Judge], methods: Sequence[str]
) -> Figure | None:
    """A panel for each curve that some pair has; baselines grey. None where there is no curve."""
    panels = []
    for judge in judges:
        for curve, (axis, at) in judge.curves.items():
            found = {m: mean_curve(records, judge.name, curve, m) for m in methods}
            lines = {m: v for m, v in found.items() if v is not None}
            if lines:
                panels.append((f"{judge.title}: {curve.replace('_', ' ')}", axis, at, lines))
    if not panels:
        return None
    rows = -(-len(panels) // _COLUMNS)
    figure = Figure(figsize=(5.2 * _COLUMNS, 3.9 * rows + 1.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = np.atleast_1d(figure.subplots(rows, _COLUMNS)).ravel()
    for ax, panel in zip(axes, panels, strict=False):
        _panel(ax, methods, *panel)
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        *(handles, labels),
        loc="outside lower center",
        ncols=4,
        frameon=False,
        prop={"family": FONT, "size": 8},
    )
    return figure


def _panel(
    ax: Axes,
    methods: Sequence[str],
    title: str,
    axis: str,
    at: Sequence[float],
    lines: dict[str, np.ndarray],
) -> None:
    ax.set_title(printable(title), fontfamily=FONT, fontsize=9, color=_INK, loc="left")
    ax.set_xlabel(axis, fontfamily=FONT, fontsize=8, color=_GREY)
    ax.tick_params(labelsize=8, colors=_GREY)
    ax.grid(color=_HAIR, linewidth=0.5)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for i, method in enumerate(methods):
        if method in lines:
            trivial = method.split(":")[0] in BASELINES
            ax.plot(
                *(at, lines[method]),
                label=printable(method),
                color=_GREY if trivial else _COLORS[i % len(_COLORS)],
                linestyle=_LINES[i // len(_COLORS) % len(_LINES)],
                linewidth=1.0 if trivial else 1.4,
            )

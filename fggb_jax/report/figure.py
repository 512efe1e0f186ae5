"""One explained pair as a matplotlib figure, made without pyplot and without global state."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.offsetbox import AnchoredOffsetbox, HPacker, TextArea

from fggb_jax.report import colors, words
from fggb_jax.report.colors import FACES, Face, Kind, Panel

if TYPE_CHECKING:
    from fggb_jax.explanation import Explanation

# All lengths are inches, y downwards from the top.
_CELL = 2.35
_GAP = 0.12
_ASIDE = 0.42  # before the column that has a scale of its own
_LEFT, _RIGHT = 0.62, 0.3
_HEAD = 1.62  # to the first row of images
_CAPTION = 0.3
_COLUMNS: tuple[Kind, ...] = ("similarity", "dissimilarity", "pair_specific")
_X = (
    _LEFT,
    _LEFT + _CELL + _GAP,
    _LEFT + 2 * (_CELL + _GAP),
    _LEFT + 3 * (_CELL + _GAP) + _ASIDE,
)
_WIDTH = _X[-1] + _CELL + _RIGHT
_INK, _GREY, _HAIR = "#1b1d21", "#5f656e", "#c9cdd3"
_FONT = "DejaVu Sans"  # comes with matplotlib, so that a figure is the same everywhere
_WRAP = 192  # characters of the footer's size in a line


def draw(e: Explanation, *, smoothing: float = 0.0) -> Figure:
    """Both faces with their maps, the score, the decision and where they come from.

    Args:
        e: the explanation.
        smoothing: σ in pixels of a Gaussian laid over the maps for display; 0 shows them raw.
    """
    h, w = e.probe_image.shape[:2]
    cell = _CELL * h / w
    bottom = _HEAD + 2 * (cell + _CAPTION)
    footer = _footer(e, smoothing)
    figure = Figure(figsize=(_WIDTH, bottom + 0.95 + 0.17 * len(footer)), facecolor="white")
    FigureCanvasAgg(figure)
    panels = colors.panels(e, smoothing)
    _headline(figure, e)
    for x, title, text in _titles(e):
        _write(figure, x, _HEAD - 0.32, title, size=11.5, weight="bold", color=_INK)
        _write(figure, x, _HEAD - 0.11, text, size=8, color=_GREY)
    for row, face in enumerate(FACES):
        y = _HEAD + row * (cell + _CAPTION)
        _row(figure, e, face, y, cell, panels)
    for x, kind in zip(_X[1:], _COLUMNS, strict=True):
        _bar(figure, x, bottom + 0.1, kind, panels[kind]["probe"].scale)
    for i, line in enumerate(footer):
        _write(figure, _LEFT, bottom + 0.85 + 0.17 * i, line, size=7.2, color=_GREY)
    return figure


def _headline(figure: Figure, e: Explanation) -> None:
    color = colors.ACCEPT if e.decision == "accept" else colors.REJECT
    verdict = TextArea(
        f"{e.decision}:",
        textprops={"size": 21, "weight": "bold", "color": color, "family": _FONT},
    )
    score = TextArea(words.score(e), textprops={"size": 21, "color": _INK, "family": _FONT})
    line = HPacker(children=[verdict, score], align="baseline", pad=0, sep=9)
    x, y = _place(figure, _LEFT, 0.28)
    box = AnchoredOffsetbox(
        "upper left",
        child=line,
        pad=0,
        borderpad=0,
        frameon=False,
        bbox_to_anchor=(x, y),
        bbox_transform=figure.transFigure,
    )
    figure.add_artist(box)
    _write(figure, _LEFT, 0.84, words.meaning(e), size=10, color=_GREY)


def _titles(e: Explanation) -> list[tuple[float, str, str]]:
    h, w = e.probe_image.shape[:2]
    maps = [(words.TITLES[kind], words.FORMULAS[kind]) for kind in _COLUMNS]
    columns = [("Aligned face", f"{w} × {h} pixels"), *maps]
    return [(x, *column) for x, column in zip(_X, columns, strict=True)]


def _row(
    figure: Figure,
    e: Explanation,
    face: Face,
    y: float,
    cell: float,
    panels: dict[Kind, dict[Face, Panel]],
) -> None:
    image = e.probe_image if face == "probe" else e.gallery_image
    _write(
        figure,
        _LEFT - 0.16,
        y + cell / 2,
        face.capitalize(),
        size=11.5,
        weight="bold",
        color=_INK,
        rotation=90,
        ha="right",
        va="center",
    )
    _axes(figure, _X[0], y, cell).imshow(image, interpolation="bicubic")
    for x, kind in zip(_X[1:], _COLUMNS, strict=True):
        panel = panels[kind][face]
        axes = _axes(figure, x, y, cell)
        axes.imshow(colors.washed(image), interpolation="bicubic")
        if panel.empty:
            _say_empty(axes)
        else:
            axes.imshow(panel.overlay(), interpolation="nearest")
        _write(figure, x, y + cell + 0.16, _caption(panel), size=7.6, color=_GREY)


def _caption(panel: Panel) -> str:
    share = words.percent(panel.share)
    if panel.kind == "pair_specific":
        return f"{share} of the mass of this face’s S"
    return f"{share} of this face’s mass Σ|S|"


def _say_empty(axes: Axes) -> None:
    pill = {"boxstyle": "round,pad=0.45,rounding_size=0.9", "fc": "white", "ec": _HAIR, "lw": 0.8}
    axes.text(
        0.5,
        0.5,
        "empty",
        transform=axes.transAxes,
        ha="center",
        va="center",
        size=12,
        color=_INK,
        family=_FONT,
        bbox=pill,
    )


def _bar(figure: Figure, x: float, y: float, kind: Kind, scale: float) -> None:
    """A colour bar below a column, its numbers in a round power of ten."""
    axes = _axes(figure, x, y, 0.11)
    axes.imshow(colors.bar(kind), aspect="auto", extent=(0, 1, 0, 1))
    power = words.exponent(scale)
    low = -scale if kind == "pair_specific" else 0.0
    ends = [low, (low + scale) / 2, scale] if scale > 0 else [0.0]
    labels = [words.significant(value / 10**power) for value in ends]
    axes.set_xticks(np.linspace(0, 1, len(ends)), labels, family=_FONT)
    axes.tick_params(length=2.5, width=0.6, color=_GREY, labelsize=8, labelcolor=_INK, pad=2)
    axes.tick_params(left=False, labelleft=False, bottom=True, labelbottom=True)
    labels = axes.get_xticklabels()
    labels[0].set_horizontalalignment("left")
    labels[-1].set_horizontalalignment("right" if len(labels) > 1 else "left")
    own = kind == "pair_specific"
    which = "P − cos·Q, a scale of its own" if own else "|S|, one scale for these four maps"
    text = f"{which}  ({words.power(power)})" if power else which
    _write(figure, x, y + 0.43, text, size=7.6, color=_GREY)


def _footer(e: Explanation, smoothing: float) -> list[str]:
    card = e.provenance.get("card") or {}
    sha256 = e.provenance.get("model_sha256")
    facts = [
        f"Threshold {words.number(e.threshold)}: "
        f"{e.provenance.get('threshold_source') or 'source not stated'}",
        f"Model {e.provenance.get('model', 'unknown')}"
        + (f" (SHA-256 {str(sha256)[:12]}…)" if sha256 else "")
        + f", licence {card.get('licence') or 'not stated'}",
    ]
    shown = f"smoothed for display, σ = {smoothing:g} pixels" if smoothing > 0 else "raw"
    method = f"Method {words.options(e)}  ·  S = P − t·Q, shown {shown}"
    paragraphs = ["  ·  ".join(facts), method, *words.notes(e)]
    return [line for text in paragraphs for line in textwrap.wrap(text, _WRAP)]


def _axes(figure: Figure, x: float, y: float, height: float) -> Axes:
    width, total = figure.get_size_inches()
    axes = figure.add_axes((x / width, 1 - (y + height) / total, _CELL / width, height / total))
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(linewidth=0.5, edgecolor=_HAIR)
    return axes


def _place(figure: Figure, x: float, y: float) -> tuple[float, float]:
    width, height = figure.get_size_inches()
    return x / width, 1 - y / height


def _write(figure: Figure, x: float, y: float, text: str, **style: object) -> None:
    """Plain text: a `$` in a model's name is no mathematics, a letter without a glyph no error."""
    style = {"va": "baseline", "family": _FONT, "parse_math": False} | style
    figure.text(*_place(figure, x, y), _printable(text), **style)  # pyright: ignore[reportArgumentType]


def _printable(text: str) -> str:
    font = get_font(findfont(_FONT))
    text = " ".join(text.split())
    return "".join(c if font.get_char_index(ord(c)) else "\N{REPLACEMENT CHARACTER}" for c in text)

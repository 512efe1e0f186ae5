"""One explained pair as a matplotlib figure, made without pyplot and without global state."""

from __future__ import annotations

import textwrap
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnchoredOffsetbox, HPacker, TextArea
from matplotlib.patches import Polygon

from fggb_jax.report import colors, photographs, words
from fggb_jax.report.colors import FACES, Face, Kind, Panel
from fggb_jax.report.photographs import View
from fggb_jax.report.text import FONT, printable

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
_BARS = 1.15  # from the last row of images to what follows the colour bars
_PHOTO = (3.9, 2 * _CELL + _GAP)  # height and width of a photograph, at most
_PHOTO_PIXELS = 960  # of its longer side: what the figure shows at 200 dots per inch
_INK, _GREY, _HAIR = "#1b1d21", "#5f656e", "#c9cdd3"
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
    views = photographs.views(e, _PHOTO_PIXELS)
    below = bottom + (_photographs_height(views) if views else 0.0)
    figure = Figure(figsize=(_WIDTH, below + 0.95 + 0.17 * len(footer)), facecolor="white")
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
    if views:
        decisive = panels[colors.decisive(e)]
        for face, x in zip(FACES, (_X[0], _X[2]), strict=True):
            _photograph(figure, face, x, bottom + _BARS, views[face], decisive[face])
    for i, line in enumerate(footer):
        _write(figure, _LEFT, below + 0.85 + 0.17 * i, line, size=7.2, color=_GREY)
    return figure


def _headline(figure: Figure, e: Explanation) -> None:
    color = colors.ACCEPT if e.decision == "accept" else colors.REJECT
    verdict = TextArea(
        f"{e.decision}:",
        textprops={"size": 21, "weight": "bold", "color": color, "family": FONT},
    )
    score = TextArea(words.score(e), textprops={"size": 21, "color": _INK, "family": FONT})
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
    beneath = colors.washed(colors.beneath(e, face))
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
        axes.imshow(beneath, interpolation="bicubic")
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


def _photograph(figure: Figure, face: Face, x: float, y: float, view: View, panel: Panel) -> None:
    """A face's map where the face was cut from, on the photograph in its colours elsewhere."""
    height, width = _photo_size(view)
    title = f"{face.capitalize()} on its photograph"
    text = f"{words.TITLES[panel.kind]}, in the colours and on the scale above"
    outlined = f"{text}; outlined: the aligned face"
    _write(figure, x, y, title, size=11.5, weight="bold", color=_INK)
    _write(figure, x, y + 0.21, outlined, size=8, color=_GREY)
    axes = _axes(figure, x, y + 0.32, height, width)
    rows, columns = view.photo.shape[:2]
    extent = (-0.5, columns - 0.5, rows - 0.5, -0.5)
    axes.imshow(view.photo, interpolation="bicubic", extent=extent)
    grey = axes.imshow(colors.washed(view.photo), interpolation="bicubic", extent=extent)
    grey.set_clip_path(Polygon(view.outline, transform=axes.transData))
    if panel.empty:
        _say_empty(axes, view.middle)
    else:
        drawn = replace(panel, values=view.draw(panel.values, _PHOTO_PIXELS))
        axes.imshow(drawn.overlay(), interpolation="antialiased", extent=extent)
    for linewidth, color in ((2.0, "#00000073"), (0.9, "white")):  # seen on dark and on light
        line = {"linewidth": linewidth, "edgecolor": color, "joinstyle": "miter"}
        axes.add_patch(Polygon(view.outline, fill=False, **line))
    axes.set(xlim=extent[:2], ylim=extent[2:])
    _write(figure, x, y + height + 0.48, words.extent(view), size=7.6, color=_GREY)


def _photo_size(view: View) -> tuple[float, float]:
    """Height and width that a photograph is shown at."""
    height, width = view.photo.shape[:2]
    scale = min(_PHOTO[0] / height, _PHOTO[1] / width)
    return height * scale, width * scale


def _photographs_height(views: dict[Face, View]) -> float:
    """How much higher the photographs make the figure."""
    return 1.17 + max(_photo_size(view)[0] for view in views.values())


def _say_empty(axes: Axes, at: tuple[float, float] | None = None) -> None:
    """The word in the middle, or at a place in the axes' own coordinates."""
    pill = {"boxstyle": "round,pad=0.45,rounding_size=0.9", "fc": "white", "ec": _HAIR, "lw": 0.8}
    axes.text(
        *(at or (0.5, 0.5)),
        "empty",
        transform=axes.transData if at else axes.transAxes,
        ha="center",
        va="center",
        size=12,
        color=_INK,
        family=FONT,
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
    axes.set_xticks(np.linspace(0, 1, len(ends)), labels, family=FONT)
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


def _axes(figure: Figure, x: float, y: float, height: float, width: float = _CELL) -> Axes:
    whole, total = figure.get_size_inches()
    axes = figure.add_axes((x / whole, 1 - (y + height) / total, width / whole, height / total))
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
    style = {"va": "baseline", "family": FONT, "parse_math": False} | style
    figure.text(*_place(figure, x, y), printable(" ".join(text.split())), **style)  # pyright: ignore[reportArgumentType]

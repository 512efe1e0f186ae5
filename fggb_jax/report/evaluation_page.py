"""An evaluation as one HTML file: its tables, its curves, and some pairs of each method.

The best, the worst and the typical one are shown, so that nobody need believe a mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8

from fggb_jax.report import data_urls
from fggb_jax.report.colors import Panel, composite

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Shown:
    """One pair as one method explains it.

    Attributes:
        title: "best", "typical" or "worst".
        name: of the pair.
        probe: (H, W, 3) the aligned face that is explained.
        gallery: the other.
        signed: (H, W) the probe's map as it was judged.
        facts: a line: cosine, decision, score.
    """

    title: str
    name: str
    probe: UInt8[np.ndarray, "H W 3"]
    gallery: UInt8[np.ndarray, "H W 3"]
    signed: Float[np.ndarray, "H W"]
    facts: str

    @property
    def images(self) -> list[tuple[str, str]]:
        """(caption, PNG as a data URL), left to right. Each map has a scale of its own."""
        values = np.asarray(self.signed, np.float32)
        peak = float(np.abs(values).max(initial=0))
        panel = Panel("signed", values, peak, None, empty=peak == 0)
        pictures = (self.probe, self.gallery, composite(self.probe, panel.overlay()))
        names = ("probe", "gallery", "map of the probe" if peak else "empty map")
        return list(zip(names, map(data_urls.png, pictures), strict=True))


def render(
    title: str,
    facts: Sequence[str],
    tables: Sequence[Mapping[str, Any]],
    curves: Figure | None,
    shown: Mapping[str, Sequence[Shown]],
    by: str,
) -> str:
    """The page as a string.

    Args:
        title: of the page.
        facts: lines on model, pairs and threshold.
        tables: each with `title`, `header`, `rows` and `quoted` of plain text.
        curves: the figure, or None.
        shown: method → its pairs.
        by: the score that chose them.
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = (files("fggb_jax.report") / "evaluation.html.j2").read_text("utf-8")
    return environment.from_string(template).render(
        title=title,
        facts=facts,
        tables=tables,
        curves=curves and data_urls.figure(curves),
        shown=shown,
        by=by,
    )


def chosen_pairs(values: Float[np.ndarray, " P"], higher: bool) -> dict[str, int]:
    """The best, the typical (nearest to the median) and the worst pair by a score; NaN left out."""
    pairs = np.flatnonzero(~np.isnan(values))
    if not len(pairs):
        return {}
    order = pairs[np.argsort(values[pairs] * (-1 if higher else 1), kind="stable")]
    picked = {"best": order[0], "typical": order[len(order) // 2], "worst": order[-1]}
    return {title: int(pair) for title, pair in picked.items()}

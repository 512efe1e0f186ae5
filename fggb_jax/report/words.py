"""The words of the report, for the figure and the page alike."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from fggb_jax.report.colors import Kind, blank_pixels, panels

if TYPE_CHECKING:
    from fggb_jax.explanation import Explanation
    from fggb_jax.report.photographs import View

TITLES: dict[Kind, str] = {
    "similarity": "Similarity",
    "dissimilarity": "Dissimilarity",
    "signed": "Signed",
    "pair_specific": "Pair-specific",
}
FORMULAS: dict[Kind, str] = {
    "similarity": "S > 0: speaks for a match",
    "dissimilarity": "S < 0: speaks against it",
    "signed": "S = P − t·Q: both signs",
    "pair_specific": "P − cos·Q: free of the threshold",
}
_LONGEST = 16  # a list that is written out


def score(e: Explanation) -> str:
    """The comparison behind the decision: "cosine 0.7120 ≥ threshold 0.2720"."""
    cosine, threshold = _apart(e.cosine, e.threshold)
    sign = "≥" if e.decision == "accept" else "<"
    return f"cosine {cosine} {sign} threshold {threshold}"


def meaning(e: Explanation) -> str:
    """What the decision says, as a sentence."""
    verb = "takes" if e.decision == "accept" else "does not take"
    return f"At this threshold the model {verb} the two faces for the same person."


def extent(view: View) -> str:
    """How much of a photograph is shown."""
    height, width = view.whole
    if view.part == view.whole:
        return f"The whole photograph, {width} × {height} pixels"
    part = f"{view.part[1]} × {view.part[0]}"
    return f"Cropped around the face: {part} of the photograph’s {width} × {height} pixels"


def number(value: float, digits: int = 4) -> str:
    """Fixed digits, a true minus sign, no negative zero; halves round as in JavaScript."""
    exact = Decimal(float(value)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    return f"{abs(exact) if exact == 0 else exact}".replace("-", "−")


def percent(share: float | None) -> str:
    """A share of a map's mass; "0 %" and "100 %" only where it is exactly that."""
    if share is None:
        return "–"
    if 0 < share < 0.001:
        return "< 0.1 %"
    if 0.999 < share < 1:
        return "> 99.9 %"
    return f"{number(100 * share, 0 if share in (0, 1) else 1)} %"


def significant(value: float) -> str:
    """Three significant digits, never in scientific notation."""
    if value == 0:
        return "0"
    return number(value, max(0, 2 - int(np.floor(np.log10(abs(value))))))


def exponent(scale: float) -> int:
    """The power of ten, a multiple of three, that a colour bar's numbers are given in."""
    return 3 * int(np.floor(np.log10(scale) / 3)) if scale > 0 else 0


def power(n: int) -> str:
    """×10ⁿ, or nothing for n = 0."""
    digits = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    return f"×10{str(n).translate(digits)}" if n else ""


def options(e: Explanation) -> str:
    """The method with the options that say something: "fggb (gradient=magnitude, norms=exact)"."""
    chosen = e.provenance.get("options") or {}
    given = {name: value for name, value in chosen.items() if value is not None}
    inside = ", ".join(f"{name}={plain(value)}" for name, value in given.items())
    method = str(e.provenance.get("method", "unknown"))
    return f"{method} ({inside})" if inside else method


def notes(e: Explanation) -> list[str]:
    """What a reader must know about these very maps before believing them."""
    found = []
    if e.plane == "frequencies":
        found.append(
            "These maps are not of the face: their axes are spatial frequencies, across and down, "
            "constant colour (DC) in the centre and finer detail farther out. They lie on plain "
            "grey, and no place in them is a place in the face."
        )
    gradient = (e.provenance.get("options") or {}).get("gradient")
    if not e.movable:
        found.append(
            f"This method’s maps are of the threshold {e.threshold:g} alone, which chooses the "
            "channels that they are made of; the pair-specific map is the signed map itself."
        )
    elif not (np.any(e.probe.q) or np.any(e.gallery.q)):
        found.append(
            "This method knows no threshold: moving it changes the decision, not the maps, and "
            "the pair-specific map is the signed map itself."
        )
    elif gradient == "magnitude":
        pair_specific = panels(e)["pair_specific"]
        own = {face: percent(panel.share) for face, panel in pair_specific.items()}
        found.append(
            "With gradient=magnitude, S tends to show the sign of cos − t painted with the image’s "
            "own mean map Q; P − cos·Q, particular to this pair, has "
            f"{own['probe']} (probe) and {own['gallery']} (gallery) of S’s mass."
        )
    elif gradient == "signed":
        found.append(
            "With gradient=signed, S is close to the plain gradient of the cosine and changes "
            "sign from pixel to pixel; similarity and dissimilarity therefore lie interleaved."
        )
    elif not np.any(e.probe.p - np.float32(e.cosine) * e.probe.q):
        found.append(
            "This method says how much each pixel matters and not for which side: the map M ≥ 0 is "
            "shown as S = (cos − t)·M, similarity where the pair is accepted, else dissimilarity."
        )
    if estimate := e.provenance.get("estimate"):
        found.append(
            f"Estimated: {estimate}. The maps are close to the exact ones, not equal to them; "
            "norms=exact computes those."
        )
    if blank := blank_pixels(e):
        found.append(f"{blank} pixels have no finite value and are left blank.")
    return found


def provenance(e: Explanation) -> list[tuple[str, str]]:
    """Where all of it comes from: rows of (name, value), known ones first, none left out."""
    known = dict(_flat(e.provenance))
    rows = [
        ("decision", e.decision),
        ("cosine", repr(float(e.cosine))),
        ("threshold", repr(float(e.threshold))),
    ]
    order = ("threshold_source", "model", "model_sha256", "card.licence", "card.source")
    order += ("method", *(name for name in known if name.startswith("options.")))
    order += ("estimate", "vjps_per_image", "norms_source")
    order += ("precision", "device")
    names = [name for name in order if name in known]
    names += [name for name in known if name not in names]
    return rows + [(_label(name), known[name] or "not stated") for name in names]


def _label(name: str) -> str:
    return name.replace("_", " ").replace(".", ": ").replace("sha256", "SHA-256")


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", plain(value)


def plain(value: Any) -> str:
    """A plain value; of a long list its length and its range."""
    if not isinstance(value, list | tuple):
        return "" if value is None else str(value)
    if len(value) > _LONGEST:
        return f"{len(value)} numbers from {min(value):g} to {max(value):g}"
    return ", ".join(map(str, value))


def _apart(a: float, b: float) -> tuple[str, str]:
    """Two numbers with four digits, or as many as it takes to tell them apart."""
    digits = 4
    while a != b and digits < 9 and number(a, digits) == number(b, digits):
        digits += 1
    return number(a, digits), number(b, digits)

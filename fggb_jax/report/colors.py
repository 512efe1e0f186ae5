"""How a map becomes colours: one definition for the figure and for the page.

What is shown is never stretched map by map. Similarity, dissimilarity and the signed map of both
faces share ONE scale, the greatest value among them, so that two panels can be compared; the
pair-specific map P − cos·Q, which is smaller, has its own. A weak map therefore looks weak, and
one that holds next to nothing is called empty.

Warm speaks for the match, cool against it. The colours run in OKLab from light to dark at an even
pace of lightness, so that they also work in grey and for colour-blind readers, and their opacity
grows with the value, so that the face stays visible where there is little to see.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float32, UInt8

from fggb_jax.gaussian import smooth

if TYPE_CHECKING:
    from fggb_jax.explanation import Explanation

Kind = Literal["similarity", "dissimilarity", "signed", "pair_specific"]
Face = Literal["probe", "gallery"]
Maps = dict[Kind, dict[Face, np.ndarray]]
KINDS: tuple[Kind, ...] = ("similarity", "dissimilarity", "signed", "pair_specific")
FACES: tuple[Face, ...] = ("probe", "gallery")

# A map is empty if it holds less than this share of its image's Σ|S| AND rises nowhere above this
# part of the scale. Both, because each alone may hide evidence: a small dark spot holds little
# mass, and one outlier in the other image makes all else low.
EMPTY_SHARE = 0.02
EMPTY_PEAK = 0.05
# P and t·Q may cancel; what float32 leaves of them then is no map. Relative to max|P| + |t|·max|Q|.
ROUNDING = 1e-5

LEVELS = 256
WASH = 0.5  # a face below an overlay is grey, this strong, on white
ACCEPT = "#0a7350"
REJECT = "#a3174b"
_LUMA = (0.2126, 0.7152, 0.0722)  # of CSS's grayscale(), so that the page's faces are the same


@dataclass(frozen=True)
class Panel:
    """One map of one face, ready to be drawn.

    Attributes:
        kind: which map.
        values: (H, W), in the map's own units, smoothed if that was asked for.
        scale: the value that takes the darkest colour; shared, see the module.
        share: this map's mass over its image's Σ|S|. The signed map's is 1; that of the
            pair-specific map may be anything, since it is another map. None where S is zero.
        empty: whether it holds next to nothing (`EMPTY_SHARE`, `EMPTY_PEAK`, `ROUNDING`);
            judged before smoothing.
    """

    kind: Kind
    values: Float32[np.ndarray, "H W"]
    scale: float
    share: float | None
    empty: bool

    def overlay(self) -> UInt8[np.ndarray, "H W 4"]:
        """The colours to lay on the face: nothing at all where the map is empty."""
        if self.empty:
            return np.zeros((*self.values.shape, 4), np.uint8)
        level = np.abs(self.values.astype(np.float64)) / self.scale
        index = np.floor(level.clip(0, 1) * (LEVELS - 1) + 0.5).astype(int)
        cool = (self.values < 0) | (self.kind == "dissimilarity")
        return np.where(cool[..., None], _DISSIMILARITY[index], _SIMILARITY[index])


def panels(e: Explanation, smoothing: float = 0.0) -> dict[Kind, dict[Face, Panel]]:
    """All maps of a pair with their common scales.

    Args:
        e: the explanation; its threshold is the one shown.
        smoothing: σ of a Gaussian in pixels, for display only; each map is smoothed after the
            split by sign, so that its mass stays.
    """
    here = {face: _finite(getattr(e, face).signed) for face in FACES}
    # Rounding may bring the cosine of equal faces to 1 + 1e-7, which is no threshold.
    own = e.at(min(max(e.cosine, -1.0), 1.0)) if e.movable else e
    raw: Maps = {kind: {face: _part(here[face], kind) for face in FACES} for kind in KINDS}
    raw["pair_specific"] = {face: _finite(getattr(own, face).signed) for face in FACES}
    shown: Maps = {
        kind: {face: smooth(values, smoothing) for face, values in maps.items()}
        for kind, maps in raw.items()
    }
    mass = {face: _mass(here[face]) for face in FACES}
    scale, raw_scale = _scales(shown), _scales(raw)
    floor = {kind: _floor(own if kind == "pair_specific" else e) for kind in KINDS}

    def panel(kind: Kind, face: Face) -> Panel:
        share = _mass(raw[kind][face]) / mass[face] if mass[face] > 0 else None
        peak = _peak(raw[kind][face])
        low = (share or 0.0) < EMPTY_SHARE and peak < EMPTY_PEAK * raw_scale[kind]
        empty = peak <= floor[kind] or low
        return Panel(kind, shown[kind][face], scale[kind], share, empty)

    return {kind: {face: panel(kind, face) for face in FACES} for kind in KINDS}


def decisive(e: Explanation) -> Kind:
    """The map that the decision rests on: similarity of what is accepted, else dissimilarity."""
    return "similarity" if e.decision == "accept" else "dissimilarity"


def blank_pixels(e: Explanation) -> int:
    """How many pixels of the pair have no finite value: the display leaves them blank."""
    maps = [(face.p, face.q) for face in (e.probe, e.gallery)]
    return sum(int((~(np.isfinite(p) & np.isfinite(q))).sum()) for p, q in maps)


def washed(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """The face as it lies below an overlay: grey and pale, so that every colour is the map's."""
    grey = image.astype(np.float64) @ np.asarray(_LUMA)
    pale = np.round(255 * (1 - WASH) + grey * WASH).astype(np.uint8)
    return np.repeat(pale[..., None], 3, axis=2)


def beneath(e: Explanation, face: Face) -> UInt8[np.ndarray, "H W 3"]:
    """What a map lies on: its face, or plain grey where its axes are not the face's pixels."""
    image = e.probe_image if face == "probe" else e.gallery_image
    return image if e.plane == "pixels" else np.full_like(image, 128)


def composite(
    image: UInt8[np.ndarray, "H W 3"], overlay: UInt8[np.ndarray, "H W 4"]
) -> UInt8[np.ndarray, "H W 3"]:
    """The overlay on the washed face, for where layers cannot be stacked."""
    return _over(washed(image), overlay)


def bar(kind: Kind) -> UInt8[np.ndarray, "1 N 3"]:
    """The kind's colours on white, from its least value to its greatest."""
    low, high = table_of("dissimilarity")[None], table_of("similarity")[None]
    row = {"similarity": high, "dissimilarity": low}.get(
        kind, np.concatenate([low[:, :0:-1], high], axis=1)
    )
    return _over(np.full((*row.shape[:2], 3), 255, np.uint8), row)


def _over(base: np.ndarray, overlay: np.ndarray) -> np.ndarray:
    alpha = overlay[..., 3:] / 255
    return np.round(base * (1 - alpha) + overlay[..., :3] * alpha).astype(np.uint8)


def _finite(values: Any) -> np.ndarray:
    return np.nan_to_num(np.asarray(values, np.float32), nan=0.0, posinf=0.0, neginf=0.0)


def _part(signed: np.ndarray, kind: Kind) -> np.ndarray:
    if kind == "similarity":
        return signed.clip(min=0)
    return (-signed).clip(min=0) if kind == "dissimilarity" else signed


def _scales(maps: Maps) -> dict[Kind, float]:
    """Kind → the value of its darkest colour: one for all maps of S, one for P − cos·Q."""
    peak = {kind: max(_peak(values) for values in faces.values()) for kind, faces in maps.items()}
    common = max(peak[kind] for kind in KINDS if kind != "pair_specific")
    return {kind: peak[kind] if kind == "pair_specific" else common for kind in KINDS}


def _floor(e: Explanation) -> float:
    """Below this, S = P − t·Q is a difference of equal numbers."""
    p = max(_peak(_finite(getattr(e, face).p)) for face in FACES)
    q = max(_peak(_finite(getattr(e, face).q)) for face in FACES)
    return ROUNDING * (p + abs(e.threshold) * q)


def _mass(values: np.ndarray) -> float:
    return float(np.abs(values).sum(dtype=np.float64))


def _peak(values: np.ndarray) -> float:
    return float(np.abs(values).max(initial=0.0))


def table_of(kind: Literal["similarity", "dissimilarity"]) -> UInt8[np.ndarray, "256 4"]:
    """RGBA for value 0 … scale. A signed map takes one for each sign."""
    return _SIMILARITY if kind == "similarity" else _DISSIMILARITY


def _table(chroma: list[float], hue: list[float]) -> UInt8[np.ndarray, "256 4"]:
    """A ramp in OKLCh, light to dark, hue in degrees, through evenly spaced stops."""
    t = np.linspace(0, 1, LEVELS)
    stops = np.linspace(0, 1, len(hue))
    lightness = 0.95 - 0.59 * t
    c, h = np.interp(t, stops, chroma), np.radians(np.interp(t, stops, hue))
    alpha = t**0.6  # grows fast at first: most pixels of a map are far below its maximum
    rgba = np.column_stack([_oklab_to_srgb(lightness, c * np.cos(h), c * np.sin(h)), alpha])
    return np.round(255 * rgba.clip(0, 1)).astype(np.uint8)


def _oklab_to_srgb(lightness: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Björn Ottosson, "A perceptual color space for image processing", 2020."""
    to_lms = [
        [1, 0.3963377774, 0.2158037573],
        [1, -0.1055613458, -0.0638541728],
        [1, -0.0894841775, -1.2914855480],
    ]
    to_rgb = [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
    lms = (np.stack([lightness, a, b], axis=-1) @ np.transpose(to_lms)) ** 3
    rgb = (lms @ np.transpose(to_rgb)).clip(0, 1)
    return np.where(rgb < 0.0031308, 12.92 * rgb, 1.055 * rgb ** (1 / 2.4) - 0.055)


_SIMILARITY = _table([0.03, 0.16, 0.125], [80, 52, 30])
_DISSIMILARITY = _table([0.02, 0.13, 0.16], [225, 250, 275])

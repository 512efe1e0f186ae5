"""The explanation of one pair: maps, score, decision and where all of it comes from."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import UInt8

from fggb_jax.attribution.maps import FaceMap
from fggb_jax.errors import FggbError, OptionError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Decision = Literal["accept", "reject"]


@dataclass(frozen=True, eq=False)
class Placement:
    """Where an aligned face lies in the photograph that it was cut from.

    Attributes:
        photo: (H, W, 3) uint8 RGB, upright.
        matrix: (2, 3) float64, photograph → aligned face, pixel centres at integers;
            `fggb_jax.faces.draw_back.to_photo` draws a map back.
    """

    photo: UInt8[np.ndarray, "H W 3"]
    matrix: np.ndarray


@dataclass(frozen=True)
class Explanation:
    """One pair of faces explained.

    Attributes:
        cosine: of the two embeddings, in [−1, 1].
        threshold: the cosine from which the pair is accepted.
        probe: the probe's map: `signed`, `similarity`, `dissimilarity`, `p`, `q`, each (H, W)
            float32, raw; the display scales, never the map.
        gallery: the gallery image's map.
        probe_image: the aligned probe, (H, W, 3) uint8 RGB.
        gallery_image: the aligned gallery image.
        provenance: model sha256, card, method, options, precision, device, versions and the
            threshold's source, as plain values.
        probe_placement: the photograph that the probe was cut from, where it is known; `save`
            keeps its matrix, not its pixels.
        gallery_placement: the same of the gallery image.
    """

    cosine: float
    threshold: float
    probe: FaceMap
    gallery: FaceMap
    probe_image: UInt8[np.ndarray, "H W 3"]
    gallery_image: UInt8[np.ndarray, "H W 3"]
    provenance: dict[str, Any]
    probe_placement: Placement | None = None
    gallery_placement: Placement | None = None

    @property
    def decision(self) -> Decision:
        """Whether the cosine reaches the threshold."""
        return "accept" if self.cosine >= self.threshold else "reject"

    @property
    def movable(self) -> bool:
        """Whether the maps can be had at another threshold without the network."""
        return "only_at_threshold" not in self.provenance

    @property
    def plane(self) -> str:
        """What the maps' axes are, as of `registry.Method`: "pixels" where they are the face's."""
        return self.provenance.get("plane", "pixels")

    def at(self, threshold: float, source: str = "given") -> Explanation:
        """The same pair at another threshold; no network runs, since S(t) = P − t·Q.

        `e.at(e.cosine)` is the pair-specific map P − cos·Q, free of any threshold.

        Raises:
            OptionError: the threshold is not a number in [−1, 1], or the method's maps are of
                one threshold only.
        """
        threshold = check_threshold(threshold)
        if not self.movable and threshold != self.threshold:
            raise OptionError(
                f"the maps of method {self.provenance.get('method')!r} are of the threshold "
                f"{self.threshold:g} alone: explain the pair again with threshold={threshold:g}"
            )
        t = np.asarray(threshold, np.float32)
        return replace(
            self,
            threshold=threshold,
            probe=replace(self.probe, threshold=t),
            gallery=replace(self.gallery, threshold=t),
            provenance={**self.provenance, "threshold_source": source},
        )

    @cached_property
    def pair_specific(self) -> Explanation:
        """`at(cosine)`: what of the maps depends on this pair and on no threshold."""
        return self.at(self.cosine, source="the pair's own cosine")

    def to_dict(self) -> dict[str, Any]:
        """Score, decision and provenance as plain values: what result.json holds."""
        return {
            "cosine": self.cosine,
            "threshold": self.threshold,
            "decision": self.decision,
            **self.provenance,
        }

    def save(self, path: str | Path) -> None:
        """Write maps, faces and provenance to one .npz file; `Explanation.load` reads it."""
        arrays: dict[str, Any] = {
            f"{name}_{kind}": np.asarray(getattr(face, kind))
            for name, face in (("probe", self.probe), ("gallery", self.gallery))
            for kind in ("signed", "p", "q")
        }
        for name, placement in (
            ("probe", self.probe_placement),
            ("gallery", self.gallery_placement),
        ):
            if placement is not None:
                arrays[f"{name}_matrix"] = placement.matrix
        with Path(path).open("wb") as file:
            np.savez_compressed(
                file,
                probe=self.probe_image,
                gallery=self.gallery_image,
                result=np.asarray(json.dumps(self.to_dict())),
                **arrays,
            )

    @classmethod
    def load(cls, path: str | Path) -> Explanation:
        """Read what `save` wrote.

        Raises:
            FggbError: the file is missing or is not an explanation.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            result = json.loads(str(arrays["result"]))
            score = {name: result.pop(name) for name in ("cosine", "threshold", "decision")}
            t = np.asarray(score["threshold"], np.float32)
            probe, gallery = (
                FaceMap(arrays[f"{name}_p"], arrays[f"{name}_q"], t)
                for name in ("probe", "gallery")
            )
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise FggbError(f"{path} is not an explanation that can be read ({error})") from None
        return cls(
            cosine=score["cosine"],
            threshold=score["threshold"],
            probe_image=arrays["probe"],
            gallery_image=arrays["gallery"],
            provenance=result,
            probe=probe,
            gallery=gallery,
        )

    def figure(self) -> Figure:
        """Both faces with their maps, score and decision, as a matplotlib figure."""
        from fggb_jax.report.figure import draw

        return draw(self)

    def to_html(self, path: str | Path) -> None:
        """Write one self-contained page, with a threshold slider that needs no network."""
        from fggb_jax.report.page import render

        Path(path).write_text(render(self), "utf-8")


def check_threshold(threshold: Any) -> float:
    """A threshold as a float.

    Raises:
        OptionError: it is not a number in [−1, 1].
    """
    try:
        value = float(threshold)
    except (TypeError, ValueError):
        value = float("nan")
    if not -1 <= value <= 1:
        raise OptionError(
            f"threshold is {threshold!r}; give a cosine in [-1, 1], or 'auto' for the card's"
        )
    return value

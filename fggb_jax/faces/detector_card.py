"""Which detectors are known by name, and where their weights can be had."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

Kind = Literal["yunet", "scrfd"]


@dataclass(frozen=True)
class DetectorCard:
    """A detector's file of weights; `zoo.fetch` takes it as it takes a model's card.

    Attributes:
        name: what users type, as in `--detector yunet`.
        kind: the network, which says how its outputs are decoded.
        licence: of the weights, as their authors state it.
        source: where the weights can be had.
        sha256: of the file, or None where it is not known.
    """

    name: str
    kind: Kind
    licence: str
    source: str
    sha256: str | None = None


@functools.cache
def detector_cards() -> dict[str, DetectorCard]:
    """The cards that ship with the package, by name: a permissive licence comes first.

    Example:
        >>> list(detector_cards())
        ['yunet', 'det_10g', 'det_500m']
    """
    folder = Path(str(files("fggb_jax") / "faces" / "cards"))
    found = [DetectorCard(**tomllib.loads(p.read_text("utf-8"))) for p in folder.glob("*.toml")]
    found.sort(key=lambda card: (card.kind != "yunet", card.name))
    return {card.name: card for card in found}

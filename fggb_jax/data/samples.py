"""The sample portraits that ship with the package: public officials, in the public domain."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import numpy as np
from PIL import Image

from fggb_jax.errors import ImageError
from fggb_jax.models.card import Card

NAMES = ("obama_a", "obama_b", "biden")
_CHIPS = {"dlib-150": "dlib150", "arcface-112": "arcface112"}  # template → the file's ending
_FOLDER = files("fggb_jax") / "data" / "portraits"


def chip(name: str, card: Card) -> np.ndarray:
    """A sample face aligned for a model.

    Args:
        name: one of `NAMES`.
        card: of the model; its template chooses the chip.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ImageError: there is no such sample, or no chip of the card's template.
    """
    if name not in NAMES or card.template not in _CHIPS:
        raise ImageError(
            f"no sample {name!r} for template {card.template!r}; samples: {', '.join(NAMES)}, "
            f"templates: {', '.join(_CHIPS)}"
        )
    return _read(f"{name}_{_CHIPS[card.template]}.png")


def photograph(name: str) -> np.ndarray:
    """A sample photograph before alignment: (H, W, 3) uint8 RGB."""
    return _read(f"{name}.jpg")


def landmarks() -> dict[str, Any]:
    """Landmarks of the photographs, in pixels, by scheme; the file states its conventions."""
    return json.loads((_FOLDER / "landmarks.json").read_text("utf-8"))


def _read(filename: str) -> np.ndarray:
    with (_FOLDER / filename).open("rb") as file, Image.open(file) as image:
        return np.asarray(image.convert("RGB"))

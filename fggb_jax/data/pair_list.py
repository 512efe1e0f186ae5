"""Pairs of images, whatever file they came from: names and indices, never pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from fggb_jax.data.images import read_image
from fggb_jax.errors import FggbError, ImageError

Note = Callable[[str], None]


class PairImage(Protocol):
    """An image that is read only when it is asked for."""

    @property
    def name(self) -> str:
        """What the list calls it: the same on every machine and in every run."""
        ...

    def read(self, note: Note | None = None) -> np.ndarray:
        """The (H, W, 3) uint8 RGB pixels, upright.

        Args:
            note: told, in a line, of everything that was changed.

        Raises:
            ImageError: missing, damaged, or not an image.
        """
        ...


@dataclass(frozen=True)
class ImageFile:
    """An image in a file of its own.

    Attributes:
        name: as the list writes it.
        path: where it lies.
    """

    name: str
    path: Path

    def exists(self) -> bool:
        """Whether there is such a file; a path that no file can have counts as missing."""
        try:
            return self.path.is_file()
        except (OSError, ValueError):
            return False

    def read(self, note: Note | None = None) -> np.ndarray:
        """The (H, W, 3) uint8 RGB pixels; see `PairImage`."""
        if not self.exists():
            raise ImageError(f"no such image: {self.path}")
        return read_image(self.path, note)


@dataclass(frozen=True, eq=False)
class PairList:
    """Which images are compared with which, and what is known of each pair.

    Attributes:
        images: K images, each once, read one by one when they are asked for.
        pairs: (P, 2) int64 indices into `images`, probe first; in the file's order.
        same: (P,) bool, whether a pair is genuine; None where the file does not say.
        folds: (P,) int64 in 0 … F−1, the parts of a cross-validation; None where there are none.
        source: a line that says where the pairs come from.
    """

    images: Sequence[PairImage]
    pairs: np.ndarray
    same: np.ndarray | None = None
    folds: np.ndarray | None = None
    source: str = ""

    def __len__(self) -> int:
        """The number of pairs."""
        return len(self.pairs)

    def name(self, pair: int) -> str:
        """What to call a pair in messages: "a.jpg, b.jpg"."""
        return ", ".join(self.images[i].name for i in self.pairs[pair])


def index(pairs: Iterable[tuple[str, str]]) -> tuple[list[str], np.ndarray]:
    """The names of pairs, each once in the order of their first use, and the pairs as indices.

    Returns:
        K names and (P, 2) int64.
    """
    known: dict[str, int] = {}
    rows = [[known.setdefault(name, len(known)) for name in pair] for pair in pairs]
    return list(known), np.array(rows, np.int64).reshape(-1, 2)


def refuse_if_all_missing(images: Sequence[ImageFile], source: str, remedy: str) -> None:
    """Single missing files cost their own pairs; a list without any file is a wrong path.

    Raises:
        FggbError: not one of the images is there.
    """
    if not any(image.exists() for image in images):
        raise FggbError(
            f"{source}: none of its {len(images):,} images is there; the first would be "
            f"{images[0].path}; {remedy}"
        )

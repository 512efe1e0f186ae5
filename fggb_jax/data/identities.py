"""A folder for each person: genuine pairs within a folder, impostor pairs across folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fggb_jax.data.pair_list import ImageFile, PairList
from fggb_jax.errors import FggbError, OptionError

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")


def read_identities(folder: str | Path, sample: int = 6000, seed: int = 0) -> PairList:
    """Draw genuine and impostor pairs, as many of the one as of the other.

    Every pair of images is as likely as any other of its kind, and none is drawn twice; a person
    with many photographs therefore has a large part in the genuine pairs.

    Args:
        folder: with a folder for each person; other files, hidden folders and folders within a
            person's are ignored.
        sample: the number of pairs; fewer where there are not as many of a kind. Images that are
            in no pair are not in the list.
        seed: of the draw; the same folder and seed give the same pairs everywhere.

    Raises:
        FggbError: there is no genuine or no impostor pair to be had.
        OptionError: `sample` is less than 2.
    """
    folder = Path(folder)
    if sample < 2:
        raise OptionError(f"a sample of {sample} pairs was asked for; it takes at least 2")
    names, ends = _images(folder)
    # Image a of person i has its genuine partners behind it in its own folder, its impostors behind
    # that folder's end: each pair once, and numbered without listing any of them.
    numbers = np.arange(len(names))
    genuine, impostor = ends - numbers - 1, len(names) - ends
    if not genuine.sum() or not impostor.sum():
        raise FggbError(
            f"{folder}: no pair of {'the same person' if impostor.sum() else 'two persons'} among "
            f"its {len(names)} images; it needs a folder for each person, of which at least one "
            "holds two images"
        )
    count = int(min(sample // 2, genuine.sum(), impostor.sum()))
    rng = np.random.default_rng(seed)
    drawn = np.concatenate(
        [_draw(rng, genuine, numbers + 1, count), _draw(rng, impostor, ends, count)]
    )
    used, pairs = np.unique(drawn, return_inverse=True)
    return PairList(
        [ImageFile(names[i], folder / names[i]) for i in used],
        pairs.reshape(-1, 2).astype(np.int64),
        np.arange(2 * count) < count,
        source=(
            f"{folder}: {count:,} of {genuine.sum():,} genuine and {count:,} of "
            f"{impostor.sum():,} impostor pairs, drawn with seed {seed}"
        ),
    )


def _images(folder: Path) -> tuple[list[str], np.ndarray]:
    """K names, person by person, and for each image (K,) the index behind its person's last."""
    names: list[str] = []
    ends: list[int] = []
    for person in sorted(p for p in folder.iterdir() if p.is_dir() and p.name[0] != "."):
        found = sorted(p.name for p in person.iterdir() if p.suffix.lower() in ENDINGS)
        names += [f"{person.name}/{name}" for name in found]
        ends += [len(names)] * len(found)
    return names, np.array(ends, np.int64)


def _draw(
    rng: np.random.Generator, partners: np.ndarray, first: np.ndarray, count: int
) -> np.ndarray:
    """`count` different pairs (count, 2) of an image and one of its partners.

    Args:
        rng: of the draw.
        partners: (K,) how many partners each image has.
        first: (K,) the first of them; the others follow it.
        count: at most the sum of `partners`.
    """
    upto = np.cumsum(partners)
    chosen = np.sort(rng.choice(int(upto[-1]), count, replace=False))
    image = np.searchsorted(upto, chosen, "right")
    return np.stack([image, first[image] + chosen - (upto - partners)[image]], axis=1)

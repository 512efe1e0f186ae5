"""Score labelled pairs of photographs: read, find, align, embed, compare; nothing stops the run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any

import numpy as np

from fggb_jax.data.pair_list import PairImage, PairList
from fggb_jax.errors import ImageError
from fggb_jax.models.face_model import FaceModel

BATCH = 32  # at most
WORKERS = 2  # reading and detecting overlap with embedding

ToFace = Callable[[np.ndarray, str], np.ndarray]  # (photograph, name) → aligned face


@dataclass(frozen=True, eq=False)
class Scores:
    """The cosines of a list of pairs.

    Attributes:
        cosines: (P,) float64; NaN where an image of the pair has no embedding.
        embeddings: (K, N) float32, one row an image; NaN where there is none.
        errors: name of the image → why it has no embedding.
    """

    cosines: np.ndarray
    embeddings: np.ndarray
    errors: dict[str, str]


def score(
    model: FaceModel,
    pairs: PairList,
    to_face: ToFace,
    *,
    known: np.ndarray | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Scores:
    """Embed each image once, and compare the pairs.

    Images are read when their turn comes and forgotten afterwards, so that a data set need not fit
    in memory.

    Args:
        model: the recognizer.
        pairs: which images, and which pairs of them.
        to_face: (photograph, its name) → aligned face (H, W, 3) uint8; may raise
            `ImageError`, which costs the image's own pairs; any other error ends the run.
        known: (K, N) embeddings of an earlier run; only images whose row is NaN are read.
        progress: called as progress(done, total) with counts of images.
    """
    embeddings = np.full((len(pairs.images), model.dimension), np.nan, np.float32)
    if known is not None:
        embeddings[:] = known
    wanted = [int(i) for i in np.flatnonzero(np.isnan(embeddings).any(axis=1))]
    # Of few images the next power of two. The last batch of many is padded: another program would
    # take longer to compile than the padding to embed.
    size = min(BATCH, 1 << max(len(pairs.images) - 1, 0).bit_length())
    errors: dict[str, str] = {}
    done = 0
    faces = aligned([(i, pairs.images[i]) for i in wanted], to_face)
    for _, group in groupby(faces, key=lambda item: item[0] // size):
        batch = list(group)
        found = [(i, face) for i, face in batch if not isinstance(face, ImageError)]
        errors |= {pairs.images[i].name: str(f) for i, f in batch if isinstance(f, ImageError)}
        if found:
            # Each image in its own place, whichever others fail: last bits depend on the place.
            chips = np.zeros((size, *model.card.size, 3), np.uint8)
            indices = np.array([i for i, _ in found])
            chips[indices % size] = [face for _, face in found]
            embeddings[indices] = np.asarray(model.embed(chips))[indices % size]
        done += len(batch)
        if progress is not None:
            progress(done, len(wanted))
    return Scores(_cosines(embeddings, pairs.pairs), embeddings, errors)


def aligned(images: Iterable[tuple[int, PairImage]], to_face: ToFace) -> Iterator[tuple[int, Any]]:
    """(index, aligned face or error) in order, a few images ahead of their use."""

    def one(item: tuple[int, PairImage]) -> tuple[int, Any]:
        index, image = item
        try:
            return index, to_face(image.read(), image.name)
        except ImageError as error:
            return index, error

    with ThreadPoolExecutor(WORKERS) as pool:
        remaining = iter(images)
        waiting = [pool.submit(one, item) for item in islice(remaining, 2 * WORKERS)]
        while waiting:
            yield waiting.pop(0).result()
            waiting += [pool.submit(one, item) for item in islice(remaining, 1)]


def _cosines(embeddings: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    unit = embeddings.astype(np.float64)
    norms = np.linalg.norm(unit, axis=1, keepdims=True)
    # A zero embedding has no direction: its pairs have no score either.
    unit = unit / np.where(norms > 0, norms, np.nan)
    return np.sum(unit[pairs[:, 0]] * unit[pairs[:, 1]], axis=1)

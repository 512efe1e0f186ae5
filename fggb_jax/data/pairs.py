"""`read_pairs`: one call for every kind of pair list."""

from __future__ import annotations

from pathlib import Path

from fggb_jax.data.bin_set import looks_like_pickle, read_bin
from fggb_jax.data.identities import read_identities
from fggb_jax.data.lfw import HEADER, read_lfw
from fggb_jax.data.pair_list import PairList
from fggb_jax.data.pairs_csv import read_csv
from fggb_jax.errors import FggbError, OptionError


def read_pairs(
    path: str | Path,
    images_root: str | Path | None = None,
    *,
    sample: int = 6000,
    seed: int = 0,
) -> PairList:
    """Read pairs of images; their kind is told from what the file holds.

    Read are a PAIRS.csv (`read_csv`), LFW's pairs.txt and pairsDevTest.txt (`read_lfw`),
    insightface's .bin (`read_bin`), and a folder with a folder for each person
    (`read_identities`). No image is read yet, and missing ones are no error unless all are.

    Args:
        path: a file or a folder.
        images_root: where a list's images lie, if not beside it.
        sample: of a folder: the number of pairs to draw.
        seed: of that draw.

    Raises:
        FggbError: there is no such file, or it is damaged: see the readers.
        OptionError: `images_root` is given with something that brings its own images.
    """
    path = Path(path)
    if images_root is not None and not Path(images_root).is_dir():
        raise FggbError(f"no such folder of images: {images_root}")
    try:
        if path.is_dir():
            _refuse_root(path, images_root)
            return read_identities(path, sample, seed)
        with path.open("rb") as file:
            head = file.read(4096)
        if looks_like_pickle(path, head):
            _refuse_root(path, images_root)
            return read_bin(path)
        first = head.decode("utf-8-sig", "replace").lstrip().partition("\n")[0]
        return (read_lfw if HEADER.fullmatch(first) else read_csv)(path, images_root)
    except FileNotFoundError:
        raise FggbError(f"no such file or folder of pairs: {path}") from None
    except (OSError, ValueError) as error:
        if isinstance(error, FggbError):
            raise
        raise FggbError(f"{path} cannot be read: {error}") from None


def _refuse_root(path: Path, images_root: str | Path | None) -> None:
    if images_root is not None:
        raise OptionError(
            f"{path} brings its own images: leave out --images (images_root in Python)"
        )

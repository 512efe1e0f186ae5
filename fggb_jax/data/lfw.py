"""LFW's own lists of pairs: pairs.txt (View 2, ten folds), pairsDevTest.txt and pairsDevTrain.txt.

The first line says how many pairs follow: "10<tab>300" is ten folds of 300 genuine and 300 impostor
pairs each, "500" is one set of 500 and 500. Then "name<tab>i<tab>j" is a genuine pair and
"name<tab>i<tab>other<tab>j" an impostor pair; image i of a person is Name/Name_000i.jpg.
"""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import numpy as np

from fggb_jax.data.pair_list import ImageFile, PairList, index
from fggb_jax.errors import FggbError

HEADER = re.compile(r"\s*\d+(\s+\d+)?\s*")
# Where the images are looked for, relative to the list, and the endings that copies of LFW have.
ROOTS = ("images", "lfw", "lfw-deepfunneled", "lfw_funneled", ".")
ENDINGS = (".jpg", ".png")


def read_lfw(path: str | Path, images_root: str | Path | None = None) -> PairList:
    """Read one of LFW's lists of pairs.

    Args:
        path: the list.
        images_root: the folder that has a folder for each person; by default the first of `ROOTS`
            beside the list in which any of the images is found.

    Returns:
        The pairs, with folds where the list has them.

    Raises:
        FggbError: naming the file, the line and the value: not of this form, or not as many pairs
            as its first line says; or not one of the images is there.
    """
    path = Path(path)
    lines = [
        (number, line.split("\t") if "\t" in line else line.split())
        for number, line in enumerate(_text(path).splitlines(), 1)
        if line.strip()
    ]
    folds, count = _header(path, lines[0][1] if lines else [])
    rows = [_pair(fields, f"{path}, line {number}") for number, fields in lines[1:]]
    same = np.array([row[2] for row in rows], bool)
    if len(rows) != 2 * folds * count:
        raise FggbError(
            f"{path}: {len(rows)} pairs; its first line announces {2 * folds * count}: {folds} × "
            f"({count} genuine + {count} impostor); is it cut off?"
        )
    fold = np.repeat(np.arange(folds), 2 * count)
    for i, genuine in enumerate(np.bincount(fold, same, folds)):
        if genuine != count:
            raise FggbError(
                f"{path}: fold {i + 1} has {genuine:g} genuine pairs; its first line announces "
                f"{count}"
            )
    unique, pairs = index((probe, gallery) for probe, gallery, _ in rows)
    parts = f" in {folds} folds" if folds > 1 else ""
    return PairList(
        _locate(path, unique, images_root),
        pairs,
        same,
        fold if folds > 1 else None,
        f"{path}: {len(pairs):,} pairs{parts}",
    )


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FggbError(f"{path} is not UTF-8 ({error.reason} at byte {error.start})") from None


def _header(path: Path, fields: list[str]) -> tuple[int, int]:
    """(folds, pairs of each kind in a fold)."""
    if not HEADER.fullmatch("\t".join(fields)):
        raise FggbError(
            f"{path}, line 1: {' '.join(fields)!r} is no count of pairs; LFW's lists begin with "
            "one number, or with the number of folds and of pairs"
        )
    numbers = [int(field[:9]) for field in fields if field.strip()]
    folds, count = numbers if len(numbers) == 2 else (1, numbers[0])
    if not folds * count:
        raise FggbError(f"{path}, line 1: {' '.join(fields)!r} announces no pairs")
    return folds, count


def _pair(fields: list[str], where: str) -> tuple[str, str, bool]:
    """(probe, gallery, same)."""
    fields = [field.strip() for field in fields]
    if len(fields) == 3:
        person, i, j = fields
        return _image(person, i, where), _image(person, j, where), True
    if len(fields) == 4:
        probe, i, gallery, j = fields
        return _image(probe, i, where), _image(gallery, j, where), False
    raise FggbError(
        f"{where}: {' '.join(fields)!r} has {len(fields)} values; a genuine pair has 3 (name, "
        "number, number), an impostor pair 4 (name, number, name, number)"
    )


def _image(person: str, number: str, where: str) -> str:
    """Name/Name_0001, without its ending."""
    if not person or person in (".", "..") or re.search(r"[/\\\0]", person):
        raise FggbError(f"{where}: {person!r} is no name of a person's folder")
    if not re.fullmatch(r"[0-9]{1,9}", number):
        raise FggbError(f"{where}: {number!r} is no number of an image")
    return f"{person}/{person}_{int(number):04d}"


def _locate(path: Path, names: list[str], root: str | Path | None) -> list[ImageFile]:
    """The images in the first folder, with the first ending, under which any of them is found."""
    roots = [Path(root)] if root is not None else [path.parent / name for name in ROOTS]
    for folder, ending in product(roots, ENDINGS):
        images = [ImageFile(name + ending, folder / (name + ending)) for name in names]
        if any(image.exists() for image in images):
            return images
    looked = ", ".join(str(folder) for folder in roots)
    raise FggbError(
        f"{path}: none of its {len(names):,} images, such as {names[0]}{ENDINGS[0]}, is there; "
        f"looked in {looked}; give the folder that has a folder for each person with "
        "--images (images_root in Python)"
    )

"""The images that are meant by files and folders."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fggb_jax.data.identities import ENDINGS
from fggb_jax.errors import ImageError


def image_files(paths: Iterable[str | Path]) -> list[Path]:
    """Files as they are given, and of a folder every image in it, at any depth, in order of names.

    Raises:
        ImageError: a path that does not exist, or a folder without an image.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise ImageError(f"no such image or folder: {path}")
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in ENDINGS and p.is_file())
        if path.is_dir() and not inside:
            raise ImageError(f"{path} holds no image ({', '.join(ENDINGS)})")
        found += inside if path.is_dir() else [path]
    return found

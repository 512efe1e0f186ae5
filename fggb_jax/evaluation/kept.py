"""Embeddings kept from a run, so that its failures can be tried again without the rest."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fggb_jax.data.pair_list import PairList
from fggb_jax.errors import OptionError
from fggb_jax.models import disk

FILE = "embeddings.npz"


def keep(folder: Path, embeddings: np.ndarray, pairs: PairList, run: Mapping[str, Any]) -> None:
    """Write the embeddings of a run in one step.

    Args:
        folder: where `FILE` goes.
        embeddings: (K, N) float32, one row an image; NaN where there is none.
        pairs: the list that the images are of.
        run: what the embeddings depend on, as plain values: model, detector and the like.

    Raises:
        OSError: it cannot be written.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, embeddings=embeddings, run=np.array(_text(pairs, run)))
    buffer.seek(0)
    disk.write(folder / FILE, buffer)


def kept(folder: Path, pairs: PairList, run: Mapping[str, Any]) -> np.ndarray:
    """The embeddings of an earlier run of the same images by the same model and options.

    Returns:
        (K, N) float32; NaN where an image has none.

    Raises:
        OptionError: there is no such run, it is damaged, or it was another one.
    """
    path = folder / FILE
    try:
        with np.load(path) as file:
            embeddings, text = file["embeddings"], str(file["run"])
    except FileNotFoundError:
        raise OptionError(
            f"there is no run to retry, no {path}: leave out --retry-failed"
        ) from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise OptionError(f"{path} is damaged ({error}): leave out --retry-failed") from None
    if text != _text(pairs, run) or embeddings.shape[:1] != (len(pairs.images),):
        raise OptionError(
            f"{path} is of another run (other images, model, detector, options or version of "
            "fggb-jax): give the same ones, or leave out --retry-failed"
        )
    return embeddings


def _text(pairs: PairList, run: Mapping[str, Any]) -> str:
    return json.dumps({**run, "images": [image.name for image in pairs.images]}, sort_keys=True)

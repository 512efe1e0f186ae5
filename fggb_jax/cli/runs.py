"""What `verify` and `evaluate` have in common."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fggb_jax.errors import ImageError

if TYPE_CHECKING:
    from fggb_jax.data.pair_list import PairList
    from fggb_jax.models.face_model import FaceModel


def labelled(pairs: Path, images: Path | None) -> PairList:
    """Pairs that say which are genuine."""
    from fggb_jax.data.pairs import read_pairs

    listed = read_pairs(pairs, images)
    if listed.same is None:
        raise ImageError(f"{pairs} does not say which pairs are the same person: add a column same")
    return listed


def run_of(model: FaceModel, faces: str, which: str) -> dict[str, Any]:
    """What a run's embeddings depend on, besides the images."""
    from fggb_jax.explain import library_versions

    other = {"threshold": None, "threshold_source": "", "norms": None, "norms_source": ""}
    card = {**model.card.to_dict(), **other}
    version = library_versions(["fggb-jax"])["fggb-jax"]
    return {
        "model": model.sha256,
        "card": card,
        "faces": faces,
        "which": which,
        "version": version,
    }

"""The recognizer that a command is about."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fggb_jax.models.face_model import FaceModel


def load(model: str) -> FaceModel:
    """A model by name or file, its programs kept between runs."""
    from fggb_jax.models.load import load_model

    use_compilation_cache()
    return load_model(model)


def beside(model: str) -> Path | None:
    """The folder of a model that is given as a file: a detector may lie beside it."""
    return Path(model).parent if Path(model).is_file() else None


def use_compilation_cache() -> None:
    """Keep compiled programs between runs: the second one starts at once."""
    import jax
    from platformdirs import user_cache_path

    folder = user_cache_path("fggb_jax") / "xla"
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)

"""The preprocessing card: everything between an aligned face and a network's input, in the open."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import jax.numpy as jnp
from jaxtyping import Array, Float

from fggb_jax.errors import ImageError, ModelError

Color = Literal["RGB", "BGR"]
Layout = Literal["CHW", "HWC"]
Embedding = Literal["raw", "normalized"]


@dataclass(frozen=True)
class Card:
    """How a face recognizer wants its faces, and where it comes from.

    Attributes:
        name: what users type.
        size: (height, width) of the aligned face, in pixels.
        color: the network's channel order.
        layout: "CHW" or "HWC", the order of the network's input axes.
        range: pixel values are scaled from [0, 1] to [0, range] first: 1 or 255.
        mean: subtracted from each channel, in units of `range`, in the network's channel order.
        std: each channel is divided by it afterwards.
        landmarks: the scheme of landmarks that the alignment starts from, such as "arcface-5".
        template: where the landmarks go, such as "arcface-112"; None where it is not known.
        embedding: "raw" where the network's output has no unit norm, else "normalized".
        dimension: the number of channels N of the embedding, where known.
        threshold: the cosine from which a pair is accepted, or None.
        threshold_source: where the threshold comes from.
        norms: the mean norm of each channel's gradient, N positive numbers, for
            `norms="calibrated"`; or None.
        norms_source: where the norms come from.
        licence: of the weights, as their authors state it.
        source: where the weights can be had.
        sha256: of the file of weights, or None for any file.
    """

    name: str
    size: tuple[int, int]
    color: Color = "RGB"
    layout: Layout = "CHW"
    range: float = 1.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    landmarks: str | None = None
    template: str | None = None
    embedding: Embedding = "raw"
    dimension: int | None = None
    threshold: float | None = None
    threshold_source: str = ""
    norms: tuple[float, ...] | None = None
    norms_source: str = ""
    licence: str = "unknown"
    source: str = "unknown"
    sha256: str | None = None

    def __post_init__(self) -> None:
        choices = (("color", Color), ("layout", Layout), ("embedding", Embedding))
        for field, allowed in choices:
            if getattr(self, field) not in get_args(allowed):
                raise ModelError(
                    f"card {self.name!r}: {field} is {getattr(self, field)!r}; "
                    f"choose one of {', '.join(get_args(allowed))}"
                )
        two = isinstance(self.size, tuple) and len(self.size) == 2
        if not two or not all(isinstance(n, int) and n > 0 for n in self.size):
            raise ModelError(
                f"card {self.name!r}: size is {self.size}; give (height, width) in pixels"
            )
        for field in ("mean", "std"):
            values = getattr(self, field)
            three = isinstance(values, tuple) and len(values) == 3
            if not three or not all(math.isfinite(v) for v in values):
                raise ModelError(f"card {self.name!r}: {field} is {values}; give three numbers")
        if 0 in self.std or not self.range > 0:
            raise ModelError(
                f"card {self.name!r}: std {self.std} and range {self.range} must not be 0"
            )
        if self.norms is not None:
            try:
                check_norms(self.norms, self.dimension)
            except ModelError as error:
                raise ModelError(f"card {self.name!r}: {error}") from None

    def preprocess(self, image: Float[Array, "H W 3"]) -> Float[Array, ...]:
        """One aligned RGB face in [0, 1] → the network's input, in the card's layout."""
        if image.shape != (*self.size, 3):
            raise ImageError(
                f"an image of shape {image.shape} was given to {self.name!r}, which takes one "
                f"aligned face of shape {(*self.size, 3)}; align or resize it first"
            )
        channels = image[..., ::-1] if self.color == "BGR" else image
        dtype = channels.dtype
        mean = jnp.asarray(self.mean, dtype).reshape(1, 1, 3)
        std = jnp.asarray(self.std, dtype).reshape(1, 1, 3)
        x = (channels * self.range - mean) / std
        return x.transpose(2, 0, 1) if self.layout == "CHW" else x

    def to_dict(self) -> dict[str, Any]:
        """The card as plain values, for JSON and TOML."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str) -> Card:
        """Build a card from plain values; `where` names their origin in errors."""
        fields = {f.name for f in dataclasses.fields(cls)}
        if unknown := sorted(values.keys() - fields):
            raise ModelError(f"{where}: unknown entries {unknown}; a card has {sorted(fields)}")
        if missing := sorted({"name", "size"} - values.keys()):
            raise ModelError(f"{where}: the card lacks {missing}")
        try:
            entries: dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
            }
            return cls(**entries)
        except TypeError as error:
            raise ModelError(f"{where}: an entry has a wrong type ({error})") from None

    @classmethod
    def from_toml(cls, path: Path) -> Card:
        """Read a card from a TOML file, the form in which users bring their own."""
        try:
            values = tomllib.loads(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ModelError(f"{path} cannot be read as a card: {error}") from None
        return cls.from_dict(values, where=str(path))


def check_norms(norms: Any, count: int | None) -> None:
    """Refuse what cannot be the norms of an embedding's channels.

    Args:
        norms: a tuple of numbers.
        count: how many channels there are; None where that is not known.

    Raises:
        ModelError: it is not one positive, finite number for each channel.
    """
    if not isinstance(norms, tuple) or not norms or not all(map(_is_norm, norms)):
        raise ModelError("norms must be positive, finite numbers, one for each channel")
    if count not in (None, len(norms)):
        raise ModelError(f"norms are {len(norms)} numbers for {count} channels")


def _is_norm(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and value > 0

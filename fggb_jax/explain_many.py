"""Explain many pairs, or one probe against many faces, walking each image's channels once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, UInt8

from fggb_jax.attribution.by_image import explain_by_image, explain_probe
from fggb_jax.attribution.device import Device
from fggb_jax.attribution.maps import FaceMap, PairMaps
from fggb_jax.errors import ImageError, OptionError
from fggb_jax.explain import Request, as_uint8
from fggb_jax.explanation import Explanation, check_threshold
from fggb_jax.models.face_model import FaceModel

Progress = Callable[[int, int], None]


def explain_pairs(
    model: FaceModel,
    images: Any,
    pairs: Any,
    method: str = "fggb",
    threshold: float | str = "auto",
    *,
    device: Device | jax.sharding.Mesh | None = None,
    precision: str = "highest",
    memory: int | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Iterator[Explanation]:
    """Explain many pairs of a set of aligned faces, in their order, each as `explain` would.

    An image's channels do not depend on its partner, so FGGB walks each image once for all pairs
    that it is in. Maps that are made before their pair's turn wait, in what the walk leaves of the
    budget, an eighth at least; where that is too little an image is walked again. Other methods go
    pair by pair.

    Args:
        model: as in `explain`, like `method`, `threshold`, `precision` and `options`.
        images: (K, H, W, 3) RGB aligned faces, uint8 or float in [0, 1]: an array, or anything
            with `shape` and `images[i]`, such as a memory map; only the images that are worked on
            are read, each more than once.
        pairs: (P, 2) integers, the probe's and the gallery image's index.
        method: one of `methods()`.
        threshold: the cosine from which a pair is accepted; "auto" takes the card's.
        device: a device, or a mesh whose devices take an image each (methods that go image by
            image only). Of a mesh over several processes each takes its share of the pairs, the
            r-th of `numpy.array_split(pairs, processes)`, and yields that share: nothing is sent
            between them. JAX's default device where None.
        precision: of matrix products on GPU and TPU.
        memory: a budget in bytes, of each device, for what is computed at once and for the maps
            that wait; as of `explain` where None. The model, and what was yielded, are not in it.
        progress: called as progress(done, total) with counts of walks over an image's channels
            (of pairs, for methods that go pair by pair).
        **options: the method's own.

    Yields:
        An `Explanation` for each pair. On a CPU it has the bits of `explain`'s, unless the budget
        is so small that an eighth less changes the plan; elsewhere maps differ by rounding.

    Raises:
        ImageError: images or pairs of a wrong shape, dtype or range.
        OptionError: as in `explain`, or a mesh without a device of this process.
        ModelError: an embedding is not a finite vector.

    Example:
        >>> import jax.numpy as jnp, numpy as np, fggb_jax as fx
        >>> card = fx.Card("tiny", size=(8, 8), layout="HWC", threshold=0.5)
        >>> w = np.random.default_rng(0).normal(size=(8, 8, 3, 6)).astype(np.float32)
        >>> model = fx.FaceModel(lambda p, x: jnp.tanh(jnp.tensordot(x, p, 3)), w, card)
        >>> images = np.random.default_rng(1).random((3, 8, 8, 3))
        >>> [e.decision for e in fx.explain_pairs(model, images, [(0, 1), (0, 2)])]
        ['accept', 'accept']
    """
    devices, share = _devices(device)
    asked = Request.of(model, method, threshold, precision, memory, options, devices)
    if asked.walker is None and len(asked.devices) > 1:
        raise OptionError(
            f"method {method!r} with these options goes pair by pair, on one device: device is a "
            "mesh"
        )
    if not hasattr(images, "shape"):
        images = np.asarray(images)
    if len(images.shape) != 4:
        raise ImageError(
            f"images of shape {tuple(images.shape)} were given; give (K, H, W, 3), the K aligned "
            "faces that pairs index"
        )
    image = _reader(asked, images)
    listed = _checked(pairs, len(images))[share(len(pairs))]
    if len(listed) == 0:
        return iter(())
    image(int(listed[0, 0]))  # refuses the shape of all images at once
    order = [(int(a), int(b)) for a, b in listed]
    return _explanations(asked, image, order, progress)


def _explanations(
    asked: Request, image: Callable[[int], np.ndarray], pairs: list[Any], progress: Any
) -> Iterator[Explanation]:
    if asked.walker is None:
        maps = _pair_by_pair(asked, image, pairs, progress)
    else:
        walker = asked.made_walker()
        maps = explain_by_image(walker, image, pairs, asked.threshold, progress)
    for a, b in pairs:
        with asked.settings():  # not while the caller has the explanation
            found = next(maps)
        yield asked.explanation(found, image(a), image(b), f"images {a} and {b}")
    for _ in maps:
        raise AssertionError("more maps than pairs")


def _pair_by_pair(
    asked: Request, image: Callable[[int], np.ndarray], pairs: list[Any], progress: Progress | None
) -> Iterator[PairMaps]:
    for done, (a, b) in enumerate(pairs, 1):
        yield asked.explain(image(a), image(b))
        if progress is not None:
            progress(done, len(pairs))


def _reader(asked: Request, images: Any) -> Callable[[int], np.ndarray]:
    def image(index: int) -> np.ndarray:
        try:
            return asked.image(np.asarray(images[index]))
        except ImageError as error:
            raise ImageError(f"image {index}: {error}") from None

    return image


def _checked(pairs: Any, count: int) -> np.ndarray:
    """Pairs as an array (P, 2) of indices."""
    array = np.asarray(pairs)
    if array.size == 0:
        return np.zeros((0, 2), np.int64)
    if array.ndim != 2 or array.shape[1] != 2 or not np.issubdtype(array.dtype, np.integer):
        raise ImageError(
            f"pairs of shape {array.shape} and dtype {array.dtype} were given; give (P, 2) "
            "integers, the indices of each pair's two images"
        )
    outside = (array < 0) | (array >= count)
    if outside.any():
        row = int(np.argmax(outside.any(axis=1)))
        raise ImageError(
            f"pair {row} is {tuple(array[row].tolist())}; there are images 0 … {count - 1}"
        )
    return array


def _devices(
    device: Device | jax.sharding.Mesh | None,
) -> tuple[list[Device] | None, Callable[[int], slice]]:
    """This process's devices, and its share of a number of pairs."""
    if not isinstance(device, jax.sharding.Mesh):
        return (None if device is None else [device]), lambda count: slice(0, count)
    devices = device.devices.ravel().tolist()
    processes = sorted({d.process_index for d in devices})
    here = jax.process_index()
    if here not in processes:
        raise OptionError(
            f"the mesh has devices of processes {processes} and none of this one, {here}: let only "
            "those processes call"
        )
    rank = processes.index(here)

    def share(count: int) -> slice:
        parts = np.array_split(np.arange(count), len(processes))
        start = sum(map(len, parts[:rank]))
        return slice(start, start + len(parts[rank]))

    return [d for d in devices if d.process_index == here], share


@dataclass(frozen=True, eq=False)
class ProbeMaps:
    """The maps of one probe for many partners.

    Attributes:
        cosine: (M,) float32, of the probe's embedding and each partner's, in [−1, 1].
        threshold: the cosine from which a pair is accepted.
        p: P, (M, H, W) float32, raw.
        q: Q, (H, W) float32, the probe's own mean map: the same for all partners.
        image: the aligned probe, (H, W, 3) uint8 RGB.
        provenance: as in an `Explanation`.
    """

    cosine: Float[np.ndarray, " M"]
    threshold: float
    p: Float[np.ndarray, "M H W"]
    q: Float[np.ndarray, "H W"]
    image: UInt8[np.ndarray, "H W 3"]
    provenance: dict[str, Any]

    def __len__(self) -> int:
        return len(self.cosine)

    def __getitem__(self, partner: int) -> FaceMap:
        """The probe's map for one partner: `signed`, `similarity`, `dissimilarity`."""
        return FaceMap(self.p[partner], self.q, np.asarray(self.threshold, np.float32))

    @property
    def accepted(self) -> np.ndarray:
        """(M,) whether each cosine reaches the threshold."""
        return self.cosine >= self.threshold

    @property
    def signed(self) -> Float[np.ndarray, "M H W"]:
        """S = P − t·Q for each partner."""
        return self.p - np.float32(self.threshold) * self.q

    def at(self, threshold: float, source: str = "given") -> ProbeMaps:
        """The same at another threshold; no network runs.

        Raises:
            OptionError: the threshold is not a number in [−1, 1].
        """
        provenance = {**self.provenance, "threshold_source": source}
        return replace(self, threshold=check_threshold(threshold), provenance=provenance)


def explain_one_to_many(
    model: FaceModel,
    probe: Any,
    galleries: Any,
    method: str = "fggb",
    threshold: float | str = "auto",
    *,
    device: Device | jax.sharding.Mesh | None = None,
    precision: str = "highest",
    memory: int | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Iterator[Explanation] | ProbeMaps:
    """Explain one probe against many faces; its channels are walked once for all of them.

    Args:
        model: as in `explain_pairs`, like all that is not said here.
        probe: the aligned face that is asked about, (H, W, 3) RGB, uint8 or float in [0, 1].
        galleries: aligned faces (M, H, W, 3), or, where only the probe's maps are wanted, their
            embeddings (M, N) as `model.embed` gives them: then no gallery image is walked, and
            many partners cost little more than one.
        method: one of `methods()`; embeddings are for those that go image by image.
        threshold: the cosine from which a pair is accepted; "auto" takes the card's.
        device: a device; with gallery images it may be a mesh.
        precision: of matrix products on GPU and TPU.
        memory: a budget in bytes; the result of M partners comes on top.
        progress: called as progress(done, total).
        **options: the method's own.

    Returns:
        With images an iterator of M `Explanation`s, as `explain_pairs` gives them; with embeddings
        a `ProbeMaps`, whose maps differ from `explain`'s by rounding.

    Raises:
        ImageError: a probe or galleries of a wrong shape, dtype or range.
        OptionError: as in `explain`; or embeddings for a method that needs the images.
        ModelError: an embedding is not a finite vector.

    Example:
        >>> found = fx.explain_one_to_many(model, probe, model.embed(faces))  # doctest: +SKIP
        >>> found[int(found.cosine.argmax())].similarity.shape                # doctest: +SKIP
        (150, 150)
    """
    if not hasattr(galleries, "shape"):
        galleries = np.asarray(galleries)
    keywords: dict[str, Any] = {"precision": precision, "memory": memory, "progress": progress}
    keywords |= {"device": device, **options}
    if len(galleries.shape) == 4:
        pairs = [(0, i) for i in range(1, len(galleries) + 1)]
        images = _Prepended(probe, galleries)
        return explain_pairs(model, images, pairs, method, threshold, **keywords)
    if len(galleries.shape) != 2:
        raise ImageError(
            f"galleries of shape {tuple(galleries.shape)} were given; give aligned faces "
            "(M, H, W, 3), or their embeddings (M, N)"
        )
    return _probe_maps(model, probe, galleries, method, threshold, **keywords)


def _probe_maps(
    model: FaceModel,
    probe: Any,
    galleries: Any,
    method: str,
    threshold: float | str,
    *,
    device: Device | jax.sharding.Mesh | None,
    precision: str,
    memory: int | None,
    progress: Progress | None,
    **options: Any,
) -> ProbeMaps:
    if isinstance(device, jax.sharding.Mesh):
        raise OptionError("device is a mesh; one probe is walked by one device: give that")
    devices = None if device is None else [device]
    asked = Request.of(model, method, threshold, precision, memory, options, devices)
    if asked.walker is None:
        raise OptionError(
            f"method {method!r} with these options goes pair by pair and needs the gallery's "
            "images (M, H, W, 3): embeddings were given"
        )
    face = asked.image(probe)
    embeddings = _checked_embeddings(galleries, model)
    with asked.settings():
        cosine, p, q = explain_probe(asked.made_walker(), face, embeddings, progress)
    for i in np.flatnonzero(~np.isfinite(cosine)):
        asked.refuse_unless_finite(cosine[i], f"the probe or gallery embedding {i}")
    return ProbeMaps(cosine, asked.threshold, p, q, as_uint8(face), dict(asked.provenance))


def _checked_embeddings(galleries: Any, model: FaceModel) -> np.ndarray:
    array = np.asarray(galleries)
    if array.shape[1] != model.dimension or not np.issubdtype(array.dtype, np.floating):
        raise ImageError(
            f"embeddings of shape {array.shape} and dtype {array.dtype} were given; "
            f"{model.card.name!r} has (M, {model.dimension}), floats"
        )
    if len(array) == 0:
        raise ImageError("no gallery embedding was given; give at least one")
    return array.astype(np.float32)


class _Prepended:
    """The probe before the gallery's images, none of them copied."""

    def __init__(self, probe: Any, galleries: Any) -> None:
        self.probe, self.galleries = probe, galleries
        self.shape = (len(galleries) + 1, *galleries.shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int) -> Any:
        return self.probe if index == 0 else self.galleries[index - 1]

"""FGGB image by image: the channels of an image are walked once for all its partners.

Ĝ depends on one image only, so one walk over an image's channels gives its maps P for any number of
partners, and its own mean map Q. What explains an image that way is a walker: `Driven` is the
engine of CPUs, `Sharded` one program over devices, as many images on each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fggb_jax.attribution import registry
from fggb_jax.attribution.fggb import check, coefficients
from fggb_jax.attribution.jacobian import Gradient, multiply_channels
from fggb_jax.attribution.maps import FaceMap, PairMaps
from fggb_jax.attribution.memory import limits, power_of_two
from fggb_jax.attribution.norms import is_exact
from fggb_jax.attribution.schedule import needs, schedule
from fggb_jax.attribution.walk import (
    Embedding,
    embedded,
    forward,
    plan_scan,
    plan_walk,
    sum_channels,
    walk_image,
)
from fggb_jax.errors import OptionError
from fggb_jax.models.face_model import FaceModel

Progress = Callable[[int, int], None]
Faces = Float[np.ndarray, "B H W 3"]
COPIES = 2  # of each map that waits: a walk's sums are copied out of where they were added


class Walker(Protocol):
    """What walks the channels of images.

    Attributes:
        at_once: images at a time.
        embeds: images whose embeddings are computed at a time.
        kept: bytes that maps may take until their pair is complete.
    """

    at_once: int
    embeds: int
    kept: int

    def embed(self, images: Faces) -> Float[np.ndarray, "B N"]:
        """The embeddings that the coefficients are made of; at most `embeds` images."""
        ...

    def walk(
        self, images: Faces, rows: Sequence[Float[np.ndarray, "R N"]]
    ) -> list[Float[np.ndarray, "R H W"]]:
        """Σ_k c_k Ĝ_k of each image, for each of its rows of coefficients."""
        ...

    def multiply(
        self,
        image: Float[np.ndarray, "H W 3"],
        rows: Float[np.ndarray, "R N"],
        progress: Progress | None,
    ) -> Float[np.ndarray, "R H W"]:
        """The same of one image, for many rows."""
        ...


@registry.by_image("fggb", lambda options: is_exact(options["norms"]))
def walker(
    model: FaceModel,
    devices: Sequence[Any],
    *,
    memory: int | None = None,
    products: Any = None,
    gradient: Gradient = "magnitude",
    embedding: Embedding = "raw",
    norms: str = "exact",
) -> Walker:
    """FGGB's walker for these devices; an eighth of the budget, or more, is for maps that wait.

    Raises:
        OptionError: an option that does not exist, or the rest is too small for one channel.
    """
    check(gradient, embedding, norms)
    budget = limits().budget if memory is None else int(memory)
    try:
        if len(devices) == 1 and devices[0].platform == "cpu":
            return Driven(model, gradient, embedding, budget, products)
        return Sharded(model, gradient, embedding, budget, devices, products)
    except OptionError as error:
        kept = _least_kept(model, budget)
        raise OptionError(
            f"of the memory budget of {budget:,} bytes {kept:,} are for maps that wait for their "
            f"pair; the rest: {error}"
        ) from None


def _least_kept(model: FaceModel, budget: int) -> int:
    """Bytes for maps that wait: an eighth of the budget, or what one pair needs at least."""
    return max(budget // 8, 4 * COPIES * _map_bytes(model.card.size))


class Driven:
    """One image at a time, as `fx.explain` walks it on a CPU: its maps have the same bits."""

    at_once = embeds = 1

    def __init__(
        self,
        model: FaceModel,
        gradient: Gradient,
        embedding: Embedding,
        budget: int,
        products: Any = None,
    ) -> None:
        self.model = model
        self.gradient: Gradient = gradient
        self.embedding: Embedding = embedding
        least = _least_kept(model, budget)
        self.plan = plan_walk(model, embedding, gradient, budget - least, products=products)
        self.kept = budget - self.plan.bytes

    def embed(self, images: Faces) -> np.ndarray:
        # By the program of the walk: another one's embeddings have other last bits.
        return np.stack([self._forward(image)[0] for image in images])

    def walk(self, images: Faces, rows: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [self._walk(image, row) for image, row in zip(images, rows, strict=True)]

    def _walk(self, image: np.ndarray, rows: np.ndarray) -> np.ndarray:
        z, steps = self._forward(image)
        seeds = jnp.eye(len(z), dtype=z.dtype)
        return sum_channels(steps, seeds, jnp.asarray(rows), image.shape, self.plan, self.gradient)

    def multiply(self, image: np.ndarray, rows: np.ndarray, progress: Progress | None) -> Any:
        z, steps = self._forward(image)
        return multiply_channels(
            steps,
            jnp.eye(len(z), dtype=z.dtype),
            rows,
            image.shape[:2],
            self.plan.chunks,
            gathered=self.kept // _map_bytes(image.shape),
            threads=self.plan.threads,
            progress=progress,
        )

    def _forward(self, image: np.ndarray) -> Any:
        return forward(self.model, jnp.asarray(image), self.plan, self.embedding, self.gradient)


class Sharded:
    """Images on one or several devices, by one program without communication between them."""

    def __init__(
        self,
        model: FaceModel,
        gradient: Gradient,
        embedding: Embedding,
        budget: int,
        devices: Sequence[Any],
        products: Any = None,
    ) -> None:
        self.devices = len(devices)
        self.at_once = limits().images * len(devices)
        self.embeds = 16 * len(devices)
        self.kept = _least_kept(model, budget)
        mesh = jax.sharding.Mesh(np.asarray(devices), ("images",))
        everywhere, each = jax.P(), jax.P("images")
        self.model = jax.device_put(model, jax.NamedSharding(mesh, everywhere))
        self.sharding = jax.NamedSharding(mesh, each)
        self.chunk = plan_scan(model, embedding, budget - self.kept)
        self._embed = partial(_embed_on, mesh, embedding)
        self._walk = partial(_walk_on, mesh, embedding, gradient, products)

    def embed(self, images: Faces) -> np.ndarray:
        spread = self._spread(images, self.embeds)
        return np.asarray(self._embed(self.model, spread))[: len(images)]

    def walk(self, images: Faces, rows: Sequence[np.ndarray]) -> list[np.ndarray]:
        # Few programs: the numbers of rows, and of images on a device, are powers of two.
        most = power_of_two(max(map(len, rows)))
        padded = [np.pad(row, ((0, most - len(row)), (0, 0))) for row in rows]
        each = power_of_two(-(-len(images) // self.devices))
        spread = (self._spread(x, each * self.devices) for x in (images, padded))
        found = self._walk(max(self.chunk // each, 1), self.model, *spread)
        return [x[: len(row)] for x, row in zip(np.asarray(found), rows, strict=False)]

    def multiply(self, image: np.ndarray, rows: np.ndarray, progress: Progress | None) -> Any:
        (found,) = self.walk(image[None], [rows])
        if progress is not None:
            progress(rows.shape[1], rows.shape[1])
        return found

    def _spread(self, values: Sequence[np.ndarray] | np.ndarray, count: int) -> Array:
        """So many over the devices, the last one again where there are too few."""
        missing = count - len(values)
        return jax.device_put(np.stack([*values, *[values[-1]] * missing]), self.sharding)


# Compiled once for all walkers of such a model on such devices.


@partial(jax.jit, static_argnums=(0, 1))
def _embed_on(mesh: Any, embedding: Embedding, model: FaceModel, images: Array) -> Array:
    def embed(model: FaceModel, images: Array) -> Array:
        return jax.vmap(embedded(model, embedding))(images)

    return _each(mesh, embed, 1)(model, images)


@partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def _walk_on(
    mesh: Any,
    embedding: Embedding,
    gradient: Gradient,
    products: Any,
    chunk: int,
    model: FaceModel,
    images: Array,
    rows: Array,
) -> Array:
    def one(model: FaceModel, image: Array, rows: Array) -> Array:
        how = partial(walk_image, embedding=embedding, kind=gradient, products=products)
        return how(model, image, lambda _: rows, chunk)

    def walk(model: FaceModel, images: Array, rows: Array) -> Array:
        return jax.vmap(one, (None, 0, 0))(model, images, rows)

    return _each(mesh, walk, 2)(model, images, rows)


def _each(mesh: Any, f: Callable[..., Array], count: int) -> Callable[..., Array]:
    """f(model, …) with one of each of so many arrays on each device."""
    each = jax.P("images")
    specs = (jax.P(), *[each] * count)
    return jax.shard_map(f, mesh=mesh, in_specs=specs, out_specs=each, check_vma=False)


def explain_by_image(
    walker: Walker,
    image: Callable[[int], Float[np.ndarray, "H W 3"]],
    pairs: Sequence[tuple[int, int]],
    threshold: float,
    progress: Progress | None = None,
) -> Iterator[PairMaps]:
    """The maps of pairs in their order, each image walked as seldom as the walker's memory allows.

    Args:
        walker: of the method.
        image: index → (H, W, 3) float32 in [0, 1]; asked for twice or oftener.
        pairs: (probe, gallery) indices.
        threshold: t.
        progress: called as progress(done, total) with counts of walks.
    """
    embeddings = _embeddings(walker, image, pairs)
    bound = walker.kept // (COPIES * _map_bytes(image(pairs[0][0]).shape))
    rounds = schedule(pairs, bound, walker.at_once)
    held: dict[tuple[int, int], tuple[FaceMap, int]] = {}  # and the last pair that needs it
    next_pair, done, total = 0, 0, sum(map(len, rounds))
    for walks in rounds:
        rows = [_rows(embeddings, walk.image, walk.kept) for walk in walks]
        found = walker.walk(np.stack([image(walk.image) for walk in walks]), rows)
        for walk in walks:
            faces = _face_maps(found.pop(0), np.float32(threshold))
            for (partner, last), face in zip(walk.kept.items(), faces, strict=True):
                held[walk.image, partner] = face, last
        done += len(walks)
        if progress is not None:
            progress(done, total)
        while next_pair < len(pairs) and all(key in held for key in needs(pairs[next_pair])):
            probe, gallery = (held[key][0] for key in needs(pairs[next_pair]))
            _, cosine = coefficients(*(embeddings[i] for i in pairs[next_pair]))
            yield PairMaps(cosine, probe, gallery)
            for key in set(needs(pairs[next_pair])):
                if held[key][1] == next_pair:
                    del held[key]
            next_pair += 1


def _face_maps(sums: np.ndarray, threshold: np.float32) -> list[FaceMap]:
    """An image's map for each partner, from the sums of `_rows`.

    They are copies, so that one may go while others wait, and cannot be written to, since a map may
    belong to several pairs.
    """
    q, *ps = (np.array(sums[i]) for i in (1, 0, *range(2, len(sums))))
    for map_ in (q, *ps):
        map_.setflags(write=False)
    return [FaceMap(p, q, np.asarray(threshold)) for p in ps]


def _embeddings(
    walker: Walker, image: Callable[[int], np.ndarray], pairs: Sequence[tuple[int, int]]
) -> dict[int, np.ndarray]:
    """Of every image that occurs: a pass of its own, for a walk needs those of the partners."""
    indices = list(dict.fromkeys(i for pair in pairs for i in pair))
    found = {}
    for start in range(0, len(indices), walker.embeds):
        batch = indices[start : start + walker.embeds]
        found.update(zip(batch, walker.embed(np.stack([image(i) for i in batch])), strict=True))
    return found


def _rows(embeddings: Mapping[int, np.ndarray], image: int, partners: Mapping[int, Any]) -> Any:
    """The rows w of the first partner, 1/N, and w of the others; the first two as of a pair."""
    pairs = [np.asarray(coefficients(embeddings[image], embeddings[j])[0]) for j in partners]
    return np.concatenate([pairs[0], *(pair[:1] for pair in pairs[1:])])


def explain_probe(
    walker: Walker,
    probe: Float[np.ndarray, "H W 3"],
    galleries: Float[np.ndarray, "M N"],
    progress: Progress | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The probe's maps for many partners whose embeddings are known.

    Returns:
        The cosines (M,), P (M, H, W), and Q (H, W).
    """
    (z,) = walker.embed(probe[None])
    rows, cosines = _all_coefficients(z, galleries)
    maps = walker.multiply(probe, np.asarray(rows), progress)
    return np.asarray(cosines), maps[:-1], maps[-1]


@jax.jit
def _all_coefficients(z: Array, galleries: Array) -> tuple[Array, Array]:
    """The rows w of all partners, then 1/N; and the cosines."""
    pairs, cosines = jax.vmap(coefficients, (None, 0))(z, galleries)
    return jnp.concatenate([pairs[:, 0], pairs[:1, 1]]), cosines


def _map_bytes(shape: Sequence[int]) -> int:
    """Of one map of an image (H, W, …), float32."""
    return 4 * shape[0] * shape[1]

"""FGGB: feature-guided gradient backpropagation (Lu, Xu, Ebrahimi, arXiv 2403.04549, FG 2024).

For a pair (A, B), embeddings F of N channels and a threshold t:

    Ĝ_A^k = G_A^k / ‖G_A^k‖,   G_A^k = ∂F_A^k / ∂I_A
    w_k   = F_A^k F_B^k / (‖F_A‖ ‖F_B‖),   Σ_k w_k = cos(F_A, F_B)
    S_A   = Σ_k Ĝ_A^k (w_k − t/N) = P − t·Q

S⁺ = max(S, 0) is the similarity map, S⁻ = max(−S, 0) the dissimilarity map; B's are the same
with B's gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, Literal, get_args
from weakref import WeakKeyDictionary

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fggb_jax.attribution import norms as estimates
from fggb_jax.attribution.jacobian import (
    Gradient,
    Kind,
    channel_value,
    current_settings,
    drive_channels,
    scan_channels,
)
from fggb_jax.attribution.maps import FaceMap, PairMaps
from fggb_jax.attribution.memory import Plan, plan_chunk, plan_steps
from fggb_jax.attribution.pullback import Pullback, prepare
from fggb_jax.attribution.registry import method
from fggb_jax.errors import OptionError
from fggb_jax.models.card import Card
from fggb_jax.models.face_model import FaceModel, Stage
from onnx2jax.lowering.channels_last import placed

Embedding = Literal["raw", "normalized"]
EmbedOne = Callable[[Any], Any]  # (H, W, 3) → (N,)
NormsOption = estimates.Estimate | Float[Array | np.ndarray, " N"]
Walk = Callable[[Array, Array], Array]  # (seeds (K, N), coefficients (M, K)) → M sums
Progress = Callable[[int, int], None]


def fggb(
    f: EmbedOne,
    a: Float[Array, "H W 3"],
    b: Float[Array, "H W 3"],
    threshold: Any,
    *,
    gradient: Gradient = "magnitude",
    embedding: Embedding = "raw",
    norms: NormsOption = "exact",
    chunk: int | None = None,
    memory: int | None = None,
) -> PairMaps:
    """FGGB of one pair, as a pure function: jit, vmap, differentiate and shard it yourself.

    Args:
        f: a pure function of one image, (H, W, 3) → (N,); a `FaceModel` is one.
        a: the probe, (H, W, 3), in whatever range f takes; [0, 1] RGB for a `FaceModel`.
        b: the gallery image, likewise.
        threshold: t, the cosine from which a pair is accepted, a scalar.
        gradient: "magnitude" averages |gradient| over RGB, then normalises over H×W; "signed"
            normalises over H×W×3, then averages over RGB.
        embedding: "raw" takes gradients of F as the network gives it, "normalized" of F/‖F‖.
        norms: "exact": each channel by its own norm. For signed gradients also estimates, which
            take a few vector–Jacobian products in place of N: "equal", "calibrated" (from the
            card of a `FaceModel`), "top" (exact for the tenth of the channels that weigh most at
            `threshold`), or the norms themselves, (N,); `fggb_jax.attribution.norms` says how.
        chunk: channels pulled back at once; planned from `memory` where None.
        memory: the budget of that plan in bytes; 1 GiB where None.

    Returns:
        `PairMaps`: cosine, and probe and gallery with p, q and signed, each (H, W).

    Raises:
        OptionError: an option that does not exist, norms for a magnitude, a card without norms,
            or a budget too small for one channel.

    Example:
        >>> import jax, jax.numpy as jnp, fggb_jax as fx
        >>> w = jax.random.normal(jax.random.key(0), (4, 4, 3, 8))
        >>> f = lambda x: jnp.tanh(jnp.tensordot(x, w, 3))
        >>> a, b = jax.random.uniform(jax.random.key(1), (2, 4, 4, 3))
        >>> maps = jax.jit(lambda a, b: fx.fggb(f, a, b, 0.5))(a, b)
        >>> maps.probe.signed.shape
        (4, 4)
    """
    _check(gradient, embedding, norms)
    g = _embedding(f, embedding)
    if chunk is None:
        image = jax.ShapeDtypeStruct(a.shape, a.dtype)
        chunk = plan_chunk(lambda _, x: g(x), None, image, memory)
    z_a, pull_a = jax.vjp(g, a)
    z_b, pull_b = jax.vjp(g, b)
    coefficients, cosine = _coefficients(z_a, z_b)
    found = _found(norms, len(z_a), getattr(f, "card", None))
    kind = gradient if found is None else "gradient"
    maps = []
    for pull, image in ((pull_a, a), (pull_b, b)):

        def walk(seeds: Array, rows: Array, pull: Any = pull, shape: Any = image.shape) -> Array:
            value, size = _value_of(pull, kind), _size(shape, kind)
            return scan_channels(value, seeds, rows, size, min(chunk, len(seeds)))

        maps.append(_maps(walk, coefficients, threshold, found))
    return _pair(maps, cosine, threshold)


def _maps(
    walk: Walk, coefficients: Array, threshold: Any, norms: estimates.Norms | None
) -> Float[Array, "2 H W"]:
    """P and Q of one image, by a walk of its channels or, with estimated norms, of a few sums."""
    if norms is None:
        return walk(jnp.eye(coefficients.shape[1], dtype=coefficients.dtype), coefficients)
    pull = lambda seeds: walk(seeds, jnp.eye(len(seeds), dtype=seeds.dtype))  # noqa: E731
    return estimates.estimated_maps(pull, coefficients, threshold, norms)


def _value_of(pull: Callable[[Array], Any], kind: Kind) -> Callable[[Array], Array]:
    """A cotangent → what of its gradient is summed."""
    return lambda cotangent: channel_value(pull(cotangent)[0], kind)


def _size(image: tuple[int, ...], kind: Kind) -> tuple[int, ...]:
    """The shape of that."""
    return {"norm": (), "gradient": image}.get(kind, image[:2])


def _found(norms: NormsOption, count: int, card: Card | None) -> estimates.Norms | None:
    exact = isinstance(norms, str) and norms == "exact"
    return None if exact else estimates.find(norms, count, card)


def _about(model: FaceModel, threshold: float, options: Mapping[str, Any]) -> dict[str, Any]:
    """What a result says of an estimate; nothing of exact maps."""
    norms = options["norms"]
    if isinstance(norms, str) and norms == "exact":
        return {}
    return estimates.describe(norms, model.dimension, threshold, model.card)


@method("fggb", "FGGB", _about)
def explain_fggb(
    model: FaceModel,
    probe: Array,
    gallery: Array,
    threshold: float,
    *,
    memory: int | None = None,
    progress: Progress | None = None,
    gradient: Gradient = "magnitude",
    embedding: Embedding = "raw",
    norms: NormsOption = "exact",
) -> PairMaps:
    """FGGB with compiled steps that are reused for every pair of a model: see `fggb`."""
    _check(gradient, embedding, norms)
    exact = isinstance(norms, str) and norms == "exact"
    kind = gradient if exact else "gradient"
    plan = _plan(model, jax.ShapeDtypeStruct(probe.shape, probe.dtype), embedding, kind, memory)
    (z_a, steps_a), (z_b, steps_b) = (
        _forward(model, image, embedding, kind) for image in (probe, gallery)
    )
    coefficients, cosine = _coefficients(z_a, z_b)
    found = _found(norms, len(z_a), model.card)
    report = progress and _in_all(progress, 2 * estimates.passes(norms, len(z_a)))
    maps = []
    for steps in (steps_a, steps_b):
        walk = partial(_channels, steps, probe.shape, plan, kind, report)
        maps.append(_maps(walk, coefficients, threshold, found))
    return _pair(maps, cosine, threshold)


def channel_values(
    model: FaceModel, image: Float[Array, "H W 3"], kind: Kind, *, memory: int | None = None
) -> Float[Array, "N ..."]:
    """Each channel's norm, normalised map or gradient, for one image and the raw embedding.

    Args:
        model: whose channels are meant.
        image: an aligned face in [0, 1].
        kind: "norm", "magnitude", "signed" or "gradient".
        memory: a budget in bytes, as of `fggb`; the result is not counted.
    """
    plan = _plan(model, jax.ShapeDtypeStruct(image.shape, image.dtype), "raw", kind, memory)
    z, steps = _forward(model, image, "raw", kind)
    unit = jnp.eye(len(z), dtype=z.dtype)
    return _channels(steps, image.shape, plan, kind, None, unit, unit)


def _in_all(progress: Progress, total: int) -> Progress:
    """For one walk after the other."""
    before = 0

    def report(done: int, of: int) -> None:
        nonlocal before
        progress(before + done, total)
        before += of if done == of else 0

    return report


def _forward(model: FaceModel, image: Array, embedding: Embedding, kind: Kind) -> Any:
    """The embedding, and for each stage what takes cotangents back, the image's first."""
    if _on_cpu():
        return _prepared(model, image, embedding=embedding, kind=kind)
    return _linearized(model, image, embedding=embedding)


def _plan(
    model: FaceModel,
    image: jax.ShapeDtypeStruct,
    embedding: Embedding,
    kind: Kind,
    memory: int | None,
) -> Plan:
    if _on_cpu():
        z, steps = _image_part.eval_shape(model, image, embedding=embedding, kind=kind)
        return plan_steps(steps, len(z), memory)
    leaves, structure = jax.tree.flatten(model)
    shapes = jax.eval_shape(lambda *leaves: leaves, *leaves)
    return Plan((_planned_chunk(structure, shapes, image, embedding, memory),), 1)


def _on_cpu() -> bool:
    return jax.default_backend() == "cpu"


def _channels(
    steps: tuple[Any, ...],
    image: tuple[int, ...],
    plan: Plan,
    kind: Kind,
    progress: Progress | None,
    seeds: Array,
    coefficients: Array,
) -> Array:
    """A `Walk` of one image: for each row of coefficients the sum over the seeds."""
    plan, size = plan.limited(len(seeds)), _size(image, kind)
    if _on_cpu():
        return drive_channels(
            steps, seeds, coefficients, size, plan.chunks, threads=plan.threads, progress=progress
        )
    return _compiled_scan(steps, seeds, coefficients, size, plan.chunks[0], kind)


@partial(jax.jit, static_argnums=(3, 4, 5))
def _compiled_scan(
    pulls: tuple[Any, ...],
    seeds: Array,
    coefficients: Array,
    size: tuple[int, ...],
    chunk: int,
    kind: Kind,
) -> Array:
    def pull(cotangent: Array) -> tuple[Array]:
        for one in reversed(pulls):
            (cotangent,) = one(cotangent)
        return (cotangent,)

    return scan_channels(_value_of(pull, kind), seeds, coefficients, size, chunk)


def _embedding(f: EmbedOne, kind: Embedding) -> EmbedOne:
    return f if kind == "raw" else lambda x: _unit(f(x))


def _unit(z: Array) -> Array:
    return z / jnp.linalg.norm(z)


def _stages(model: FaceModel, kind: Embedding) -> tuple[Stage, ...]:
    *first, last = model.stages
    return (*first, last if kind == "raw" else lambda model, x: _unit(last(model, x)))


# Both are programs of their own: within the backward's, XLA would compute the forward pass anew
# for each chunk. And they are jitted, so that a second image traces nothing.


def _prepared(
    model: FaceModel, image: Array, *, embedding: Embedding, kind: Kind
) -> tuple[Array, tuple[Pullback, ...]]:
    """The embedding, and each stage's prepared pullback; the image's ends in what is summed."""
    how = {"embedding": embedding, "kind": kind}
    z, steps = _image_part(model, image, **how)
    shared = _KERNELS.setdefault(model, {})
    # What JAX's own caches distinguish as well.
    key = (*how.values(), image.dtype, *current_settings().values())
    if key not in shared:
        shared[key] = _kernel_part(model, jnp.zeros_like(image), **how)
    pairs = zip(steps, shared[key], strict=True)
    return z, tuple(Pullback(step.program, kernels, step.residuals) for step, kernels in pairs)


# Kernels transposed and transformed once for all images, as long as the model lives.
_KERNELS: WeakKeyDictionary[FaceModel, dict[Any, Any]] = WeakKeyDictionary()


@partial(jax.jit, static_argnames=("embedding", "kind"))
def _image_part(model: FaceModel, image: Array, **how: Any) -> tuple[Array, tuple[Pullback, ...]]:
    """`_prepared` without the kernels."""
    z, steps = _trace(model, image, **how)
    return z, tuple(Pullback(step.program, (), step.residuals) for step in steps)


@partial(jax.jit, static_argnames=("embedding", "kind"))
def _kernel_part(model: FaceModel, image: Array, **how: Any) -> tuple[Any, ...]:
    """The kernels alone, which no image changes: XLA leaves the forward pass out."""
    return tuple(step.kernels for step in _trace(model, image, **how)[1])


def _trace(
    model: FaceModel, image: Array, *, embedding: Embedding, kind: Kind
) -> tuple[Array, list[Pullback]]:
    finish = partial(channel_value, kind=kind)
    steps, x = [], placed(image)
    for stage in _stages(model, embedding):
        x, step = prepare(partial(stage, model), x, None if steps else finish)
        steps.append(step)
    return x.plain, steps


@partial(jax.jit, static_argnames="embedding")
def _linearized(model: FaceModel, image: Array, *, embedding: Embedding) -> Any:
    """The embedding, and each stage's pullback."""
    pulls, x = [], image
    for stage in _stages(model, embedding):
        x, pull = jax.vjp(partial(stage, model), x)
        pulls.append(pull)
    return x, tuple(pulls)


@lru_cache(maxsize=64)
def _planned_chunk(
    structure: Any, shapes: Any, image: Any, embedding: Embedding, memory: int | None
) -> int:
    """`plan_chunk` of a model, traced once for all pairs."""
    g = _embedding(lambda x: structure.unflatten(shapes)(x), embedding)
    return plan_chunk(lambda _, x: g(x), None, image, memory)


def _coefficients(z_a: Array, z_b: Array) -> tuple[Array, Array]:
    """The rows w and 1/N, whose maps are P and Q; and the cosine, their sum."""
    w = z_a * z_b / (jnp.linalg.norm(z_a) * jnp.linalg.norm(z_b))
    # [w, 1/N] without a stack, which would refuse a w that is sharded over an explicit mesh.
    first, second = jnp.asarray([[1.0], [0.0]], w.dtype), jnp.asarray([[0.0], [1.0]], w.dtype)
    return first * w[None] + second / w.shape[0], jnp.clip(jnp.sum(w), -1, 1)


def _pair(maps: list[Array], cosine: Array, threshold: Any) -> PairMaps:
    t = jnp.asarray(threshold, cosine.dtype)
    probe, gallery = (FaceMap(p=m[0], q=m[1], threshold=t) for m in maps)
    return PairMaps(cosine=cosine, probe=probe, gallery=gallery)


def _check(gradient: str, embedding: str, norms: Any) -> None:
    rows = (
        ("gradient", gradient, get_args(Gradient)),
        ("embedding", embedding, get_args(Embedding)),
    )
    for name, value, allowed in rows:
        if value not in allowed:
            raise OptionError(f"{name} is {value!r}; choose one of {', '.join(allowed)}")
    estimates.check(norms, gradient)

"""FGGB: feature-guided gradient backpropagation (Lu, Xu, Ebrahimi, arXiv 2403.04549, FG 2024).

For a pair (A, B), embeddings F of N channels and a threshold t:

    Ĝ_A^k = G_A^k / ‖G_A^k‖,   G_A^k = ∂F_A^k / ∂I_A
    w_k   = F_A^k F_B^k / (‖F_A‖ ‖F_B‖),   Σ_k w_k = cos(F_A, F_B)
    S_A   = Σ_k Ĝ_A^k (w_k − t/N) = P − t·Q

S⁺ = max(S, 0) is the similarity map, S⁻ = max(−S, 0) the dissimilarity map; B's are the same
with B's gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Literal, get_args
from weakref import WeakKeyDictionary

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fggb_jax.attribution.device import on_cpu
from fggb_jax.attribution.jacobian import (
    Gradient,
    channel_map,
    current_settings,
    drive_channels,
    scan_channels,
)
from fggb_jax.attribution.maps import FaceMap, PairMaps
from fggb_jax.attribution.memory import Plan, plan_chunk, plan_steps
from fggb_jax.attribution.pullback import Pullback, prepare
from fggb_jax.attribution.registry import method
from fggb_jax.errors import OptionError
from fggb_jax.models.face_model import FaceModel, Stage
from onnx2jax.lowering.channels_last import placed

Embedding = Literal["raw", "normalized"]
EmbedOne = Callable[[Any], Any]  # (H, W, 3) → (N,)


def fggb(
    f: EmbedOne,
    a: Float[Array, "H W 3"],
    b: Float[Array, "H W 3"],
    threshold: Any,
    *,
    gradient: Gradient = "magnitude",
    embedding: Embedding = "raw",
    norms: str = "exact",
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
        norms: "exact": each channel by its own norm.
        chunk: channels pulled back at once; planned from `memory` where None.
        memory: the budget of that plan in bytes; 1 GiB where None.

    Returns:
        `PairMaps`: cosine, and probe and gallery with p, q and signed, each (H, W).

    Raises:
        OptionError: an option that does not exist, or a budget too small for one channel.

    Example:
        >>> import jax, jax.numpy as jnp, fggb_jax as fx
        >>> w = jax.random.normal(jax.random.key(0), (4, 4, 3, 8))
        >>> f = lambda x: jnp.tanh(jnp.tensordot(x, w, 3))
        >>> a, b = jax.random.uniform(jax.random.key(1), (2, 4, 4, 3))
        >>> maps = jax.jit(lambda a, b: fx.fggb(f, a, b, 0.5))(a, b)
        >>> maps.probe.signed.shape
        (4, 4)
    """
    check(gradient, embedding, norms)
    g = embedded(f, embedding)
    if chunk is None:
        image = jax.ShapeDtypeStruct(a.shape, a.dtype)
        chunk = plan_chunk(lambda _, x: g(x), None, image, memory)
    z_a, pull_a = jax.vjp(g, a)
    z_b, pull_b = jax.vjp(g, b)
    rows, cosine = coefficients(z_a, z_b)
    seeds = jnp.eye(len(z_a), dtype=z_a.dtype)
    maps = [
        scan_channels(map_of(pull, gradient), seeds, rows, image.shape[:2], chunk)
        for pull, image in ((pull_a, a), (pull_b, b))
    ]
    return _pair(maps, cosine, threshold)


def map_of(pull: Callable[[Array], Any], gradient: Gradient) -> Callable[[Array], Array]:
    """A channel's cotangent → its normalised map."""
    return lambda cotangent: channel_map(pull(cotangent)[0], gradient)


@method("fggb", "FGGB")
def explain_fggb(
    model: FaceModel,
    probe: Array,
    gallery: Array,
    threshold: float,
    *,
    memory: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    gradient: Gradient = "magnitude",
    embedding: Embedding = "raw",
    norms: str = "exact",
) -> PairMaps:
    """FGGB with compiled steps that are reused for every pair of a model: see `fggb`."""
    check(gradient, embedding, norms)
    plan = plan_walk(model, embedding, gradient, memory)
    (z_a, steps_a), (z_b, steps_b) = (
        forward(model, image, plan, embedding, gradient) for image in (probe, gallery)
    )
    rows, cosine = coefficients(z_a, z_b)
    count, maps = len(z_a), []
    for i, steps in enumerate((steps_a, steps_b)):
        report = progress and partial(_offset, progress, i * count, 2 * count)
        seeds = jnp.eye(count, dtype=z_a.dtype)
        size = probe.shape[:2]
        maps.append(sum_channels(steps, seeds, rows, size, plan, gradient, report))
    return _pair(maps, cosine, threshold)


def forward(
    model: FaceModel, image: Array, plan: Plan, embedding: Embedding, gradient: Gradient
) -> Any:
    """The embedding, and for each stage what takes cotangents back, the image's first."""
    if on_cpu():
        how = {"embedding": embedding, "gradient": gradient, "winograd": plan.winograd}
        return _prepared(model, image, **how)
    return _linearized(model, image, embedding=embedding)


def plan_walk(
    model: FaceModel, embedding: Embedding, gradient: Gradient, memory: int | None
) -> Plan:
    """How the channels of an image are walked."""
    if on_cpu():
        return _plan_prepared(model, embedding, gradient, memory)
    return Plan((plan_scan(model, embedding, memory),), 1)


def plan_scan(model: FaceModel, embedding: Embedding, memory: int | None) -> int:
    """The channels at once where the network is one program."""
    leaves, structure = jax.tree.flatten(model)
    shapes = jax.eval_shape(lambda *leaves: leaves, *leaves)
    return _planned_chunk(structure, shapes, _face(model), embedding, memory)


def _plan_prepared(
    model: FaceModel, embedding: Embedding, gradient: Gradient, memory: int | None
) -> Plan:
    def planned(winograd: bool) -> Plan:
        how = {"embedding": embedding, "gradient": gradient, "winograd": winograd}
        z, steps = _image_part.eval_shape(model, _face(model), **how)
        return plan_steps(steps, len(z), memory)._replace(winograd=winograd)

    try:
        return planned(winograd=True)
    except OptionError:
        return planned(winograd=False)


def _face(model: FaceModel) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((*model.card.size, 3), jnp.float32)


def sum_channels(
    steps: tuple[Any, ...],
    seeds: Array,
    coefficients: Array,
    size: tuple[int, ...],
    plan: Plan,
    gradient: Gradient,
    progress: Callable[[int, int], None] | None = None,
) -> Any:
    """The maps of one image: for each row of coefficients the sum over the seeds."""
    if on_cpu():
        return drive_channels(
            steps, seeds, coefficients, size, plan.chunks, threads=plan.threads, progress=progress
        )
    return _compiled_scan(steps, seeds, coefficients, size, plan.chunks[0], gradient)


@partial(jax.jit, static_argnums=(3, 4, 5))
def _compiled_scan(
    pulls: tuple[Any, ...],
    seeds: Array,
    coefficients: Array,
    size: tuple[int, ...],
    chunk: int,
    gradient: Gradient,
) -> Array:
    def pull(cotangent: Array) -> tuple[Array]:
        for one in reversed(pulls):
            (cotangent,) = one(cotangent)
        return (cotangent,)

    return scan_channels(map_of(pull, gradient), seeds, coefficients, size, chunk)


def _offset(progress: Callable[[int, int], None], before: int, total: int, done: int, _: int):
    progress(before + done, total)


def embedded(f: EmbedOne, kind: Embedding) -> EmbedOne:
    return f if kind == "raw" else lambda x: _unit(f(x))


def _unit(z: Array) -> Array:
    return z / jnp.linalg.norm(z)


def _stages(model: FaceModel, kind: Embedding) -> tuple[Stage, ...]:
    *first, last = model.stages
    return (*first, last if kind == "raw" else lambda model, x: _unit(last(model, x)))


# Both are programs of their own: within the backward's, XLA would compute the forward pass anew
# for each chunk. And they are jitted, so that a second image traces nothing.


def _prepared(model: FaceModel, image: Array, **how: Any) -> tuple[Array, tuple[Pullback, ...]]:
    """The embedding, and each stage's prepared pullback; the image's ends in the channel's map.

    Args:
        model: in stages.
        image: (H, W, 3).
        **how: `embedding`, `gradient`, `winograd`.
    """
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


@partial(jax.jit, static_argnames=("embedding", "gradient", "winograd"))
def _image_part(model: FaceModel, image: Array, **how: Any) -> tuple[Array, tuple[Pullback, ...]]:
    """`_prepared` without the kernels."""
    z, steps = _trace(model, image, **how)
    return z, tuple(Pullback(step.program, (), step.residuals) for step in steps)


@partial(jax.jit, static_argnames=("embedding", "gradient", "winograd"))
def _kernel_part(model: FaceModel, image: Array, **how: Any) -> tuple[Any, ...]:
    """The kernels alone, which no image changes: XLA leaves the forward pass out."""
    return tuple(step.kernels for step in _trace(model, image, **how)[1])


def _trace(
    model: FaceModel, image: Array, *, embedding: Embedding, gradient: Gradient, winograd: bool
) -> tuple[Array, list[Pullback]]:
    finish = partial(channel_map, kind=gradient)
    steps, x = [], placed(image)
    for stage in _stages(model, embedding):
        ending = None if steps else finish
        x, step = prepare(partial(stage, model), x, ending, winograd=winograd)
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
    model = structure.unflatten(shapes)
    return plan_chunk(lambda model, x: embedded(model, embedding)(x), model, image, memory)


@jax.jit
def coefficients(z_a: Array, z_b: Array) -> tuple[Array, Array]:
    """The rows w and 1/N, whose maps are P and Q; and the cosine, their sum."""
    w = z_a * z_b / (jnp.linalg.norm(z_a) * jnp.linalg.norm(z_b))
    # [w, 1/N] without a stack, which would refuse a w that is sharded over an explicit mesh.
    first, second = jnp.asarray([[1.0], [0.0]], w.dtype), jnp.asarray([[0.0], [1.0]], w.dtype)
    return first * w[None] + second / w.shape[0], jnp.clip(jnp.sum(w), -1, 1)


def _pair(maps: list[Array], cosine: Array, threshold: Any) -> PairMaps:
    t = jnp.asarray(threshold, cosine.dtype)
    probe, gallery = (FaceMap(p=m[0], q=m[1], threshold=t) for m in maps)
    return PairMaps(cosine=cosine, probe=probe, gallery=gallery)


def check(gradient: str, embedding: str, norms: str) -> None:
    rows = (
        ("gradient", gradient, get_args(Gradient)),
        ("embedding", embedding, get_args(Embedding)),
        ("norms", norms, ("exact",)),
    )
    for name, value, allowed in rows:
        if value not in allowed:
            raise OptionError(f"{name} is {value!r}; choose one of {', '.join(allowed)}")

"""A walk over the channels of one image of a model: what is pulled back through one forward pass.

Its steps are prepared (`pullback`). On a CPU they are driven from Python, stage by stage; elsewhere
they are one compiled scan. Which of them it is, nobody else needs to know.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, Literal
from weakref import WeakKeyDictionary

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core as jex
from jaxtyping import Array, Float

from fggb_jax.attribution.device import on_cpu
from fggb_jax.attribution.jacobian import (
    Kind,
    channel_value,
    current_settings,
    drive_channels,
    scan_channels,
    walk_channels,
)
from fggb_jax.attribution.memory import Plan, described, plan_chunk, plan_steps
from fggb_jax.attribution.pullback import Pullback, prepare, results_of
from fggb_jax.errors import OptionError
from fggb_jax.models.face_model import FaceModel, Stage
from onnx2jax.lowering.channels_last import placed
from onnx2jax.lowering.conv import Form

Embedding = Literal["raw", "normalized"]
EmbedOne = Callable[[Any], Any]  # (H, W, 3) → (N,)
Progress = Callable[[int, int], None]


def embedded(f: EmbedOne, kind: Embedding) -> EmbedOne:
    """The function whose channels are meant: f, or f ÷ its norm."""
    return f if kind == "raw" else lambda x: _unit(f(x))


def _unit(z: Array) -> Array:
    return z / jnp.linalg.norm(z)


def value_of(pull: Callable[[Array], Any], kind: Kind) -> Callable[[Array], Array]:
    """A cotangent → what of its gradient is summed."""
    return lambda cotangent: channel_value(pull(cotangent)[0], kind)


def size_of(image: tuple[int, ...], kind: Kind) -> tuple[int, ...]:
    """The shape of that, for an image of the shape (H, W, 3)."""
    return {"norm": (), "gradient": image}.get(kind, image[:2])


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
    return embedded_channels(model, image, "raw", kind, memory=memory)[1]


def embedded_channels(
    model: FaceModel,
    image: Float[Array, "H W 3"],
    embedding: Embedding,
    kind: Kind,
    *,
    memory: int | None = None,
) -> tuple[Float[Array, " N"], Float[Array, "N ..."]]:
    """The embedding, and `channel_values` of it."""
    plan = plan_walk(model, embedding, kind, memory, image.dtype)
    z, steps = forward(model, image, plan, embedding, kind)
    return z, pull_channels(steps, jnp.eye(len(z), dtype=z.dtype), image.shape, plan, kind)


def forward(model: FaceModel, image: Array, plan: Plan, embedding: Embedding, kind: Kind) -> Any:
    """The embedding, and for each stage what takes cotangents back, the image's first."""
    return prepared(model, image, embedding=embedding, kind=kind, form=plan.form)


def sum_channels(
    steps: tuple[Any, ...],
    seeds: Array,
    coefficients: Any,
    image: tuple[int, ...],
    plan: Plan,
    kind: Kind,
    progress: Progress | None = None,
) -> Any:
    """For each row of coefficients the sum over the seeds.

    Args:
        steps: as `forward` gives them.
        seeds: cotangents (K, N).
        coefficients: (M, K).
        image: its shape, (H, W, 3).
        plan: as `plan_walk` gives it.
        kind: that `forward` was asked for.
        progress: called as progress(done, total) with counts of seeds.

    Returns:
        (M, …): maps, gradients or numbers.
    """
    plan, size = plan.limited(len(seeds)), size_of(image, kind)
    if on_cpu():
        return drive_channels(
            steps, seeds, coefficients, size, plan.chunks, threads=plan.threads, progress=progress
        )
    return _compiled_scan(steps, seeds, coefficients, size, plan.chunks[0])


def pull_channels(
    steps: tuple[Any, ...],
    seeds: Array,
    image: tuple[int, ...],
    plan: Plan,
    kind: Kind,
    progress: Progress | None = None,
) -> Any:
    """What is made of each seed, (K, …), nothing summed; arguments as of `sum_channels`."""
    if not on_cpu():
        unit = jnp.eye(len(seeds), dtype=seeds.dtype)
        return sum_channels(steps, seeds, unit, image, plan, kind)
    plan = plan.limited(len(seeds))
    walked = walk_channels(steps, seeds, plan.chunks, plan.threads, progress)
    return np.concatenate([part for _, values in walked for part in values])[: len(seeds)]


@partial(jax.jit, static_argnums=(3, 4))
def _compiled_scan(
    steps: tuple[Pullback, ...],
    seeds: Array,
    coefficients: Array,
    size: tuple[int, ...],
    chunk: int,
) -> Array:
    return scan_channels(partial(_descend, steps), seeds, coefficients, size, chunk)


def _descend(steps: Sequence[Pullback], cotangent: Array) -> Array:
    """A cotangent of the embedding → what is summed."""
    for step in reversed(steps):
        cotangent = step(cotangent)
    return cotangent


def walk_image(
    model: FaceModel,
    image: Float[Array, "H W 3"],
    rows: Callable[[Array], Float[Array, "M N"]],
    chunk: int,
    *,
    embedding: Embedding = "raw",
    kind: Kind = "magnitude",
    products: Any = None,
) -> Float[Array, "M ..."]:
    """For each row of coefficients the sum over all channels, as one traceable program.

    For accelerators: `vmap` it over images, shard it, compile it.

    Args:
        model: whose channels are meant.
        image: an aligned face in [0, 1].
        rows: the embedding → the coefficients.
        chunk: channels at once.
        embedding: see `fggb`.
        kind: what of each gradient is summed.
        products: the type that cotangents are pulled back in, such as bfloat16; the forward pass,
            and so every mask, keeps its own.
    """
    z, pull = pull_image(model, image, embedding=embedding, kind=kind, products=products)
    seeds, size = jnp.eye(len(z), dtype=z.dtype), size_of(image.shape, kind)
    return scan_channels(pull, seeds, rows(z), size, chunk)


def pull_image(
    model: FaceModel,
    image: Float[Array, "H W 3"],
    *,
    embedding: Embedding = "raw",
    kind: Kind = "magnitude",
    products: Any = None,
) -> tuple[Array, Callable[[Array], Array]]:
    """The embedding, and a pytree that takes a cotangent of it to what `walk_image` sums."""
    form = Form(native=True, operands=products)
    z, steps = _trace(model, image, embedding=embedding, kind=kind, form=form)
    return z, jax.tree_util.Partial(_descend, steps)


# Plans


def plan_walk(
    model: FaceModel,
    embedding: Embedding,
    kind: Kind,
    memory: int | None,
    dtype: Any = jnp.float32,
    products: Any = None,
) -> Plan:
    """How the channels of an image of a dtype are walked within a budget in bytes.

    `products` is the type of a pullback's products, for accelerators of all that it computes.
    """
    if not on_cpu():
        chunk = plan_scan(model, embedding, memory, dtype)
        return Plan((chunk,), 1, Form(native=True, operands=products))

    def planned(form: Form, share: float = 1) -> Plan:
        how = {"embedding": embedding, "kind": kind, "form": form}
        z, steps = _image_part.eval_shape(model, _face(model, dtype), **how)
        return plan_steps(steps, len(z), memory, share)._replace(form=form)

    # Their kernels are 4 times the plain ones, and 16/9. The former are made only where they are a
    # small part of the budget: making them takes as much again.
    for winograd, share in ((4, 1 / 4), (2, 1)):
        with contextlib.suppress(OptionError):
            return planned(Form(winograd=winograd, operands=products), share)
    return planned(Form(operands=products))


def plan_scan(
    model: FaceModel, embedding: Embedding, memory: int | None, dtype: Any = jnp.float32
) -> int:
    """The channels at once where the network is one program."""
    _, structure, shapes = described(model)
    return _planned_chunk(structure, shapes, _face(model, dtype), embedding, memory)


def _face(model: FaceModel, dtype: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((*model.card.size, 3), dtype)


@lru_cache(maxsize=64)
def _planned_chunk(
    structure: Any, shapes: Any, image: Any, embedding: Embedding, memory: int | None
) -> int:
    """`plan_chunk` of a model, traced once for all pairs."""
    model = structure.unflatten(shapes)
    return plan_chunk(lambda model, x: embedded(model, embedding)(x), model, image, memory)


# Forward passes. They are programs of their own: within the backward's, XLA would compute the
# forward pass anew for each chunk. And they are jitted, so that a second image traces nothing.


def _stages(model: FaceModel, kind: Embedding) -> tuple[Stage, ...]:
    *first, last = model.stages
    return (*first, last if kind == "raw" else lambda model, x: _unit(last(model, x)))


def prepared(model: FaceModel, image: Array, **how: Any) -> tuple[Array, tuple[Pullback, ...]]:
    """The embedding, and each stage's prepared pullback; the image's ends in what is summed.

    Args:
        model: in stages.
        image: (H, W, 3).
        **how: `embedding`, `kind`, `form`.
    """
    z, steps = _image_part(model, image, **how)
    shared = _KERNELS.setdefault(model, {})
    # What JAX's own caches distinguish as well.
    key = (*how.values(), image.dtype, *current_settings().values())
    if key not in shared:
        leaves, structure, shapes = described((model, jnp.zeros_like(image)))
        settings = tuple(current_settings().values())
        makers = _kernel_makers(structure, shapes, settings, tuple(how.items()))
        shared[key] = tuple(make(*leaves) for make in makers)
    pairs = zip(steps, shared[key], strict=True)
    return z, tuple(Pullback(step.program, kernels, step.residuals) for step, kernels in pairs)


# Kernels transposed and transformed once for all images, as long as the model lives.
_KERNELS: WeakKeyDictionary[FaceModel, dict[Any, Any]] = WeakKeyDictionary()


@partial(jax.jit, static_argnames=("embedding", "kind", "form"))
def _image_part(model: FaceModel, image: Array, **how: Any) -> tuple[Array, tuple[Pullback, ...]]:
    """`prepared` without the kernels."""
    z, steps = _trace(model, image, **how)
    return z, tuple(Pullback(step.program, (), step.residuals) for step in steps)


@lru_cache(maxsize=64)
def _kernel_makers(
    structure: Any, shapes: Any, settings: Any, how: tuple[tuple[str, Any], ...]
) -> tuple[Callable[..., Any], ...]:
    """What makes each stage's kernels, which no image changes, from the leaves of model and image.

    All of them are traced at once, and made one after the other: what making them takes is as large
    as they are.
    """

    def kernels(*leaves: Any) -> tuple[Any, ...]:
        model, image = structure.unflatten(leaves)
        return tuple(step.kernels for step in _trace(model, image, **dict(how))[1])

    closed, made = jax.make_jaxpr(kernels, return_shape=True)(*shapes)
    left = list(closed.jaxpr.outvars)
    parts = []
    for leaves, tree in map(jax.tree.flatten, made):
        wanted, left = left[: len(leaves)], left[len(leaves) :]
        parts.append(jax.jit(partial(_made, closed, tuple(wanted), tree)))
    return tuple(parts)


def _made(closed: jex.ClosedJaxpr, wanted: tuple[Any, ...], tree: Any, *leaves: Any) -> Any:
    return tree.unflatten(results_of(closed, wanted, *leaves))


def _trace(
    model: FaceModel, image: Array, *, embedding: Embedding, kind: Kind, form: Form
) -> tuple[Array, list[Pullback]]:
    finish = partial(channel_value, kind=kind)
    steps, x = [], placed(image)
    for stage in _stages(model, embedding):
        ending = None if steps else finish
        x, step = prepare(partial(stage, model), x, ending, form=form)
        steps.append(step)
    return x.plain, steps

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
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fggb_jax.attribution import norms as estimates
from fggb_jax.attribution.jacobian import Gradient, scan_channels
from fggb_jax.attribution.maps import FaceMap, PairMaps
from fggb_jax.attribution.memory import plan_chunk
from fggb_jax.attribution.options import one_of
from fggb_jax.attribution.registry import method
from fggb_jax.attribution.walk import (
    Embedding,
    EmbedOne,
    Progress,
    embedded,
    forward,
    plan_walk,
    pull_channels,
    size_of,
    sum_channels,
    value_of,
)
from fggb_jax.models.card import Card
from fggb_jax.models.face_model import FaceModel

NormsOption = estimates.Estimate | Float[Array | np.ndarray, " N"]
Walk = Callable[[Array, Array], Array]  # (seeds (K, N), coefficients (M, K)) → M sums


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
        memory: the budget of that plan in bytes; where None 1 GiB, on an accelerator 4 GiB.

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
    check(gradient, embedding, norms)
    g = embedded(f, embedding)
    if chunk is None:
        image = jax.ShapeDtypeStruct(a.shape, a.dtype)
        chunk = plan_chunk(lambda _, x: g(x), None, image, memory)
    z_a, pull_a = jax.vjp(g, a)
    z_b, pull_b = jax.vjp(g, b)
    rows, cosine = coefficients(z_a, z_b)
    found = _found(norms, len(z_a), getattr(f, "card", None))
    kind = gradient if found is None else "gradient"
    maps = []
    for pull, image in ((pull_a, a), (pull_b, b)):

        def walk(seeds: Array, rows: Array, pull: Any = pull, shape: Any = image.shape) -> Array:
            value, size = value_of(pull, kind), size_of(shape, kind)
            return scan_channels(value, seeds, rows, size, min(chunk, len(seeds)))

        def gradients(seeds: Array, walk: Walk = walk) -> Array:
            return walk(seeds, jnp.eye(len(seeds), dtype=seeds.dtype))

        maps.append(_maps(walk, gradients, rows, threshold, found))
    return _pair(maps, cosine, threshold)


def _maps(
    walk: Walk,
    pull: estimates.PullBack,
    coefficients: Array,
    threshold: Any,
    norms: estimates.Norms | None,
) -> Float[Array, "2 H W"]:
    """P and Q of one image, by a walk of its channels or, with estimated norms, of a few sums."""
    if norms is None:
        return walk(jnp.eye(coefficients.shape[1], dtype=coefficients.dtype), coefficients)
    return estimates.estimated_maps(pull, coefficients, threshold, norms)


def _found(norms: NormsOption, count: int, card: Card | None) -> estimates.Norms | None:
    return None if estimates.is_exact(norms) else estimates.find(norms, count, card)


def _about(model: FaceModel, threshold: float, options: Mapping[str, Any]) -> dict[str, Any]:
    """What a result says of an estimate; nothing of exact maps."""
    norms = options["norms"]
    if estimates.is_exact(norms):
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
    products: Any = None,
    gradient: Gradient = "magnitude",
    embedding: Embedding = "raw",
    norms: NormsOption = "exact",
) -> PairMaps:
    """FGGB with compiled steps that are reused for every pair of a model: see `fggb`."""
    check(gradient, embedding, norms)
    kind = gradient if estimates.is_exact(norms) else "gradient"
    plan = plan_walk(model, embedding, kind, memory, probe.dtype, products)
    (z_a, steps_a), (z_b, steps_b) = (
        forward(model, image, plan, embedding, kind) for image in (probe, gallery)
    )
    rows, cosine = coefficients(z_a, z_b)
    found = _found(norms, len(z_a), model.card)
    report = progress and _in_all(progress, 2 * estimates.passes(norms, len(z_a)))
    maps = []
    for steps in (steps_a, steps_b):

        def walk(seeds: Array, rows: Array, steps: Any = steps) -> Array:
            return sum_channels(steps, seeds, rows, probe.shape, plan, kind, report)

        def pull(seeds: Array, steps: Any = steps) -> Array:
            return pull_channels(steps, seeds, probe.shape, plan, kind, report)

        maps.append(_maps(walk, pull, rows, threshold, found))
    return _pair(maps, cosine, threshold)


def _in_all(progress: Progress, total: int) -> Progress:
    """For one walk after the other."""
    before = 0

    def report(done: int, of: int) -> None:
        nonlocal before
        progress(before + done, total)
        before += of if done == of else 0

    return report


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


def check(gradient: str, embedding: str, norms: Any) -> None:
    """Refuse options of `fggb` that do not exist, or not together."""
    one_of("gradient", gradient, get_args(Gradient))
    one_of("embedding", embedding, get_args(Embedding))
    estimates.check(norms, gradient)

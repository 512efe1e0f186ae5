"""Signed FGGB in a few passes: norms of channels that are estimated, and said to be.

A signed map is one vector–Jacobian product once the norms of the channels are known:

    S = Σ_k J_k/‖J_k‖ (w_k − t/N) = Jᵀu,   u_k = (w_k − t/N)/‖J_k‖

so two products give P and Q, and with them every threshold. The norms alone ask for all N. They
differ little from channel to channel, and estimates of them give nearly the same map:

- "equal": all equal.
- "calibrated": in the proportions of the card's, which are means over faces.
- "top": exact for the channels of largest |u_k|, by the calibrated norms, and calibrated for the
  others. The choice is made at the threshold that is asked for and kept: S stays linear in t.

Their common size belongs to the image. For random signs ε, E ‖Jᵀ(ε/n)‖² = Σ_k ‖J_k‖²/n_k², and Q is
Jᵀ(1/n)/N. It is taken in two halves of the channels, whose sum and difference are two such probes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from fggb_jax.attribution.jacobian import root_or_one
from fggb_jax.errors import OptionError
from fggb_jax.models.card import Card

Estimate = Literal["exact", "equal", "calibrated", "top"]
PullBack = Callable[[Float[Array, "K N"]], Float[Array, "K H W 3"]]  # cotangents → gradients

TOP_SHARE = 0.1  # of the channels


class Norms(NamedTuple):
    """Where the norms of an image's channels come from.

    Attributes:
        kind: an `Estimate` other than "exact", or "given".
        values: (N,), the norms where they are given, else their proportions.
    """

    kind: str
    values: Float[Array | np.ndarray, " N"]


def check(norms: Any, gradient: str) -> None:
    """Refuse what is no way of finding norms, or none for this kind of gradient.

    Raises:
        OptionError: in the words that the user needs.
    """
    if isinstance(norms, str):
        if norms not in get_args(Estimate):
            raise OptionError(
                f"norms is {norms!r}; choose one of {', '.join(get_args(Estimate))}, or give an "
                "array of N norms"
            )
        if norms == "exact":
            return
    elif np.ndim(norms) != 1:
        raise OptionError(
            f"norms has shape {np.shape(norms)}; give one number for each channel, (N,)"
        )
    elif not isinstance(norms, Tracer):
        values = np.asarray(norms)
        if not (np.issubdtype(values.dtype, np.number) and np.isfinite(values).all()):
            raise OptionError("norms must be finite numbers")
        if not (values > 0).all():
            raise OptionError(f"norms must be positive; the least is {values.min()}")
    if gradient != "signed":
        named = f"norms={norms!r}" if isinstance(norms, str) else "an array of norms"
        raise OptionError(
            f"{named} needs gradient='signed': with gradient={gradient!r} no estimate was good "
            "(docs/fewer_passes.md), so leave norms='exact'"
        )


def find(norms: Any, count: int, card: Card | None) -> Norms:
    """What `check` let pass, with the values that it stands for.

    Args:
        norms: an `Estimate` other than "exact", or an array.
        count: N.
        card: of the model; None for a function that has none.

    Raises:
        OptionError: the card has no norms, or there are not N of them.
    """
    if not isinstance(norms, str):
        if len(norms) != count:
            raise OptionError(f"norms are {len(norms)} numbers, for an embedding of {count}")
        return Norms("given", jnp.asarray(norms))
    if norms == "equal":
        return Norms(norms, np.ones(count))
    if card is None:
        raise OptionError(
            f"norms={norms!r} takes them from a card, and this function has none: give a "
            "FaceModel, an array of N norms, or norms='equal'"
        )
    if card.norms is None:
        raise OptionError(
            f"the card of {card.name!r} has no norms, which norms={norms!r} needs: measure them "
            f"with `fggb models norms {card.name} IMAGES` or `fx.calibrate_norms(model, images)`, "
            "or take norms='equal'"
        )
    if len(card.norms) != count:
        raise OptionError(
            f"the card of {card.name!r} has {len(card.norms)} norms, for an embedding of {count}"
        )
    return Norms(norms, np.asarray(card.norms))


def is_exact(norms: Any) -> bool:
    """Whether each channel has its own norm."""
    return isinstance(norms, str) and norms == "exact"


def passes(norms: Any, count: int) -> int:
    """The vector–Jacobian products that the maps of one image take.

    Args:
        norms: as in `fx.fggb`.
        count: N.
    """
    if not isinstance(norms, str):
        return 2
    few = {"exact": count, "equal": 3, "calibrated": 3, "top": top_count(count) + 2}
    return few[norms]


def top_count(count: int) -> int:
    """How many of N channels have exact norms with "top"."""
    return int(np.ceil(TOP_SHARE * count))


def estimated_maps(
    pull: PullBack, coefficients: Float[Array, "2 N"], threshold: Any, norms: Norms
) -> Float[Array, "2 H W"]:
    """P and Q of one image, signed.

    Args:
        pull: cotangents (K, N) → their gradients (K, H, W, 3).
        coefficients: the rows w and 1/N.
        threshold: t, at which "top" chooses its channels.
        norms: as `find` gives them.
    """
    values = jnp.asarray(norms.values, coefficients.dtype)[None]
    if norms.kind in ("equal", "calibrated"):
        return _sized(pull, coefficients / values)
    if norms.kind == "top":
        values = _partly_exact(pull, coefficients, threshold, values)
    return jnp.mean(pull(coefficients / values), -1)


def _sized(pull: PullBack, cotangents: Float[Array, "2 N"]) -> Float[Array, "2 H W"]:
    """P and Q of norms whose proportions are known: three products, no more."""
    count = cotangents.shape[1]
    dtype = cotangents.dtype
    even = np.arange(count) % 2 == 0
    kept = jnp.asarray([np.ones(count), even, ~even], dtype)
    first = jnp.asarray([[1, 0], [0, 1], [0, 1]], dtype)  # P, one half of Q, the other half
    gradients = pull(kept * (first @ cotangents))
    # The mean of both probes' squares: that of the sum and that of the difference of the halves.
    size = root_or_one(count * jnp.sum(gradients[1:] ** 2))
    return jnp.tensordot(first.T, jnp.mean(gradients, -1), 1) / size


def _partly_exact(
    pull: PullBack, coefficients: Array, threshold: Any, values: Float[Array, "1 N"]
) -> Float[Array, "1 N"]:
    """The norms of the heaviest channels, and the others' by their proportions to those."""
    (w, each), count = coefficients, coefficients.shape[1]
    weight = jnp.abs(w - jnp.asarray(threshold, w.dtype) * each) / values[0]
    _, chosen = jax.lax.top_k(weight, top_count(count))
    picked = jax.nn.one_hot(chosen, count, dtype=w.dtype)
    exact = root_or_one(jnp.sum(pull(picked) ** 2, (1, 2, 3)))
    size = root_or_one(jnp.mean((exact / (picked @ values[0])) ** 2))
    others = 1 - jnp.sum(picked, 0)
    return (size * values[0] * others + exact @ picked)[None]


def describe(norms: Any, count: int, threshold: float, card: Card) -> dict[str, Any]:
    """What a result records of an estimate.

    Args:
        norms: as in `fx.fggb`, other than "exact".
        count: N.
        threshold: that the explanation was asked for.
        card: of the model.

    Returns:
        `estimate`, a phrase; `vjps_per_image`; and `norms_source`.
    """
    few, own = passes(norms, count), card.norms_source or f"card {card.name!r}"
    phrases = {
        "equal": ("all equal", "none needed"),
        "calibrated": ("in the card's proportions", own),
        "top": (
            f"exact for {top_count(count)}, those of most weight at threshold {threshold:g} and "
            "the same at any other, and in the card's proportions for the rest",
            own,
        ),
    }
    phrase, source = phrases[norms] if isinstance(norms, str) else ("as given", "given")
    return {
        "estimate": f"norms of channels {phrase}; {few} products an image in place of {count}",
        "vjps_per_image": few,
        "norms_source": source,
    }

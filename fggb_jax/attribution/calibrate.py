"""The norms of a model's channels, measured on faces, for `norms="calibrated"` and `"top"`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fggb_jax.attribution.walk import channel_values
from fggb_jax.data.images import as_float
from fggb_jax.errors import ImageError, ModelError
from fggb_jax.models.face_model import FaceModel, Images

DIGITS = 4  # significant ones that a card keeps: an estimate is no better


def calibrate_norms(
    model: FaceModel,
    images: Images,
    *,
    source: str | None = None,
    memory: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> FaceModel:
    """Measure the mean norm of each channel's gradient; N vector–Jacobian products an image.

    A few dozen faces of different people are enough; they need no labels.

    Args:
        model: whose channels are meant; its embedding as the network gives it.
        images: (B, H, W, 3) aligned RGB faces, uint8 or float in [0, 1].
        source: what a result is to say of these faces; their number where None.
        memory: a budget in bytes, as of `explain`.
        progress: called as progress(done, total) with counts of images.

    Returns:
        The same model with `norms` and `norms_source` in its card, so that
        `fx.explain(..., gradient="signed", norms="calibrated")` finds them there.

    Raises:
        ImageError: no image, or one of another size, dtype or range than the card's.
        ModelError: a channel whose gradient is zero or not finite on all of them.

    Example:
        >>> model = fx.calibrate_norms(model, faces)           # doctest: +SKIP
        >>> fx.explain(model, *pair, gradient="signed", norms="calibrated")
        ...                                                    # doctest: +SKIP
    """
    images = as_float(images, (None, *model.card.size, 3), model.card.name)
    if len(images) == 0:
        raise ImageError("there is no image to measure norms on; give a few dozen aligned faces")
    total: Any = 0
    with jax.default_matmul_precision("highest"):
        for i, image in enumerate(images):
            found = channel_values(model, jnp.asarray(image), "norm", memory=memory)
            total = total + np.asarray(found, np.float64)
            if progress is not None:
                progress(i + 1, len(images))
    mean = total / len(images)
    if not (np.isfinite(mean).all() and (mean > 0).all()):
        wrong = int(np.flatnonzero(~(np.isfinite(mean) & (mean > 0)))[0])
        raise ModelError(
            f"channel {wrong} of {model.card.name!r} has a gradient of norm {mean[wrong]} on these "
            "images: it cannot be calibrated"
        )
    card = dataclasses.replace(
        model.card,
        norms=tuple(float(f"{x:.{DIGITS}g}") for x in mean),
        norms_source=source or f"mean over {len(images)} faces",
    )
    return FaceModel(model.function, model.params, card, model.sha256)

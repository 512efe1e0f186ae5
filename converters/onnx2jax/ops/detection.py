"""Boxes, and images as files hold them."""

from __future__ import annotations

import io

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from onnx2jax.registry import op
from onnx2jax.values import index_dtype


@op("NonMaxSuppression", 10, counted=("boxes", "scores"))
def NonMaxSuppression(
    boxes,
    scores,
    max_output_boxes_per_class=None,
    iou_threshold=None,
    score_threshold=None,
    *,
    center_point_box=0,
    ctx,
):
    """boxes (images, boxes, 4), scores (images, classes, boxes) → rows of image, class, box."""
    most = _scalar(max_output_boxes_per_class, 0)
    overlap, least = _scalar(iou_threshold, 0.0), _scalar(score_threshold, -jnp.inf)
    corners = _corners(jnp.asarray(boxes), center_point_box)

    def one_class(corners, scores):
        order = jnp.argsort(-scores, stable=True)
        return order, _kept(corners[order], scores[order] > least, overlap, most)

    one_image = jax.vmap(one_class, (None, 0))
    order, kept = jax.vmap(one_image)(corners, jnp.asarray(scores))
    if ctx.max_size is None:
        image, kind, place = np.nonzero(np.asarray(kept))
        return np.stack([image, kind, np.asarray(order)[image, kind, place]], 1).astype(np.int64)
    ctx.count(kept.sum())
    image, kind, place = jnp.nonzero(kept, size=ctx.max_size, fill_value=-1)
    box = jnp.where(image < 0, -1, order[image, kind, place])
    return jnp.stack([image, kind, box], 1).astype(index_dtype())


def _scalar(value, default):
    return default if value is None or not np.size(value) else jnp.asarray(value).reshape(())


def _corners(boxes, center_point_box):
    """(…, 4): the lower and the upper corner."""
    a, b = boxes[..., :2], boxes[..., 2:]
    if center_point_box:
        a, b = a - b / 2, a + b / 2
    return jnp.concatenate([jnp.minimum(a, b), jnp.maximum(a, b)], -1)


def _kept(corners, candidate, overlap, most):
    """Which boxes stay, in the order of their scores: none that overlaps a better one that does."""
    low = jnp.maximum(corners[:, None, :2], corners[None, :, :2])
    high = jnp.minimum(corners[:, None, 2:], corners[None, :, 2:])
    shared = jnp.prod(jnp.maximum(high - low, 0), -1)
    area = jnp.prod(corners[:, 2:] - corners[:, :2], -1)
    union = area[:, None] + area - shared
    covers = (shared > 0) & (shared > overlap * union)

    def decide(i, kept):
        free = ~jnp.any(kept & covers[i])
        return kept.at[i].set(candidate[i] & free & (kept.sum() < most))

    return lax.fori_loop(0, len(candidate), decide, jnp.zeros(len(candidate), bool))


@op("ImageDecoder", 20, static=("encoded",))
def ImageDecoder(encoded, *, pixel_format="RGB"):
    """A file's bytes (n,) → (H, W, C) uint8."""
    try:
        import PIL.Image
    except ImportError:
        raise NotImplementedError("decoding images needs Pillow: pip install pillow") from None
    if pixel_format not in ("RGB", "BGR", "Grayscale"):
        raise ValueError(f"pixel_format is {pixel_format!r}; ONNX has RGB, BGR and Grayscale")
    try:
        picture = PIL.Image.open(io.BytesIO(np.asarray(encoded, np.uint8).tobytes()))
        pixels = np.asarray(picture.convert("L" if pixel_format == "Grayscale" else "RGB"))
    except (OSError, PIL.Image.DecompressionBombError) as error:
        raise ValueError(f"no image that can be read: {error}") from None
    if pixel_format == "Grayscale":
        return pixels[..., None]
    return pixels[..., ::-1].copy() if pixel_format == "BGR" else pixels

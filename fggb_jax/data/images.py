"""Images: files to upright RGB arrays, and arrays checked before anything is computed."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import jax
import numpy as np
from jax.core import Tracer
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from fggb_jax.errors import ImageError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
MAX_PIXELS = 100_000_000  # checked before decoding: a 100-megapixel photograph, no bomb


def read_image(path: str | Path, note: Callable[[str], None] | None = None) -> np.ndarray:
    """Read an image file as (H, W, 3) uint8 RGB, upright.

    EXIF orientation is applied; grey, palette and 16-bit images are converted; transparent
    pixels are laid on white, as viewers show them.

    Args:
        path: a file of one of `FORMATS`; of an animation the first frame counts.
        note: told, in a line, of everything that was changed.

    Raises:
        ImageError: no such file, not one of `FORMATS`, truncated, or over `MAX_PIXELS`.
    """
    path = Path(path)
    if not path.is_file():
        raise ImageError(f"no such image: {path}")
    return decode_image(path, str(path), note)


def decode_image(
    source: Path | IO[bytes], name: str, note: Callable[[str], None] | None = None
) -> np.ndarray:
    """Decode an image wherever its bytes lie; see `read_image`.

    Args:
        source: a file, or its bytes as an open stream.
        name: what messages call it.
        note: told, in a line, of everything that was changed.

    Returns:
        (H, W, 3) uint8 RGB, upright.

    Raises:
        ImageError: not one of `FORMATS`, truncated, or over `MAX_PIXELS`.

    Example:
        >>> decode_image(io.BytesIO(data), "set.bin[7]").dtype  # doctest: +SKIP
        dtype('uint8')
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(source, formats=FORMATS)
        with image:
            if image.width * image.height > MAX_PIXELS:
                raise ImageError(
                    f"{name} has {image.width}×{image.height} pixels; at most "
                    f"{MAX_PIXELS:,} are read: make it smaller"
                )
            rgb, changes = _to_rgb(image)
    except UnidentifiedImageError:
        raise ImageError(
            f"{name} is not an image that can be read; give one of {', '.join(FORMATS)}"
        ) from None
    except ImageError:
        raise
    except Image.DecompressionBombError:
        raise ImageError(
            f"{name} has more pixels than the {MAX_PIXELS:,} that are read: make it smaller"
        ) from None
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageError(f"{name} cannot be decoded ({error}): truncated or damaged?") from None
    if note is not None and changes:
        note(f"{name}: {', '.join(changes)}")
    return rgb


def _to_rgb(image: Image.Image) -> tuple[np.ndarray, list[str]]:
    """The pixels, and what had to be changed."""
    image.load()  # before it some formats do not know their mode
    changes, upright = [], image
    if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        changes.append("turned upright as its EXIF orientation says")
        upright = ImageOps.exif_transpose(image)
    mode = upright.mode
    if mode.startswith("I") or mode == "F":
        changes.append("16-bit grey reduced to 8-bit RGB")
        return _from_deep_grey(upright), changes
    if mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in upright.info:
        changes.append("transparent pixels laid on white")
        layered = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered)
    elif mode != "RGB":
        names = {"L": "grey", "1": "black and white", "P": "palette"}
        changes.append(f"{names.get(mode, mode)} converted to RGB")
    if upright.mode != "RGB":
        upright = upright.convert("RGB")  # it would copy what is RGB already
    return np.asarray(upright), changes


def _from_deep_grey(image: Image.Image) -> np.ndarray:
    grey = np.asarray(image).astype(np.float64)
    scale = 257 if grey.max(initial=0) > 255 else 1
    levels = np.clip(np.round(grey / scale), 0, 255).astype(np.uint8)
    return np.repeat(levels[..., None], 3, axis=2)


def resize_aligned(image: np.ndarray, size: tuple[int, int], name: str) -> np.ndarray:
    """Resample an aligned face to the model's size, where only its scale differs.

    Args:
        image: (h, w, 3) uint8.
        size: (height, width) wanted.
        name: of the image, for the error.

    Raises:
        ImageError: another aspect ratio: such an image is not aligned for this model.
    """
    (h, w), (height, width) = image.shape[:2], size
    if (h, w) == size:
        return image
    if abs(h / w - height / width) > 0.01 * height / width:
        raise ImageError(
            f"{name} has {w}×{h} pixels; the model takes aligned faces of {width}×{height}, and "
            "an image of other proportions is not aligned for it: crop it first"
        )
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(resized)


def as_float(images: Any, shape: tuple[int | None, ...], name: str) -> Any:
    """Check images and bring them to float32 in [0, 1].

    Args:
        images: an array of uint8 in [0, 255] or of floats in [0, 1].
        shape: what it must have; None admits any length.
        name: the model's name, for the error.

    Raises:
        ImageError: another shape or dtype, values out of range or not finite.
    """
    array = images if isinstance(images, jax.Array) else np.asarray(images)
    got = tuple(array.shape)
    if len(got) != len(shape) or any(w not in (None, g) for g, w in zip(got, shape, strict=True)):
        wanted = str(shape).replace("None", "B")
        raise ImageError(
            f"images of shape {got} were given; {name!r} takes {wanted}: aligned RGB faces, "
            "channels last"
        )
    if array.dtype == np.uint8:
        return array.astype(np.float32) / np.float32(255)
    if not np.issubdtype(array.dtype, np.floating):
        raise ImageError(f"images have dtype {array.dtype}; give uint8 or floats in [0, 1]")
    if isinstance(array, Tracer):
        return array
    low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
    if not (low >= -1e-3 and high <= 1 + 1e-3):  # so that NaN fails too
        raise ImageError(
            f"image values lie in [{low:g}, {high:g}]; give floats in [0, 1], or uint8"
        )
    return array.astype(np.float32)

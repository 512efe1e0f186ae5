"""Pictures inside a page, as data URLs: it then needs no other file."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_JPEG_BYTES = 200_000  # at most; an ordinary photograph keeps the first of these qualities
_QUALITIES = (88, 80, 70, 55, 40, 25, 10)


def png(image: np.ndarray) -> str:
    """(H, W, 3 or 4) uint8, without loss."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", optimize=True)
    return _url("png", buffer.getvalue())


def jpeg(image: np.ndarray) -> str:
    """(H, W, 3) uint8, in 200 kB at most where some quality allows it."""
    data = b""
    for quality in _QUALITIES:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=quality, optimize=True)
        data = buffer.getvalue()
        if len(data) <= _JPEG_BYTES:
            break
    return _url("jpeg", data)


def figure(figure: Figure) -> str:
    """A figure of matplotlib, as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return _url("png", buffer.getvalue())


def _url(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"

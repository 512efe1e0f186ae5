"""One explained pair as one HTML file that needs nothing else: no network, no server."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from fggb_jax.report import colors, data_urls, photographs, words
from fggb_jax.report.colors import FACES, KINDS, Face, Kind
from fggb_jax.report.photographs import View

if TYPE_CHECKING:
    from fggb_jax.explanation import Explanation

_STILL: tuple[Kind, ...] = ("signed", "pair_specific")  # similarity is signed's warm half

_PHOTO_PIXELS = 900  # of a photograph's longer side, at most


def render(e: Explanation) -> str:
    """The page as a string: `Path(...).write_text(page, "utf-8")`.

    It holds both faces as PNG and P and Q as float32, from which the reader's browser computes
    S = P − t·Q at any threshold. Where both photographs are known it shows them too, with the map
    drawn back onto them. The same explanation gives the same bytes.
    """
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    script = _resource("page.js")
    views = photographs.views(e, _PHOTO_PIXELS) or {}
    return environment.from_string(_resource("page.html.j2")).render(
        e=e,
        words=words,
        colors=colors,
        kinds=KINDS,
        faces=_faces(e),
        photographs=[_photograph(face, view) for face, view in views.items()],
        data=_data(e, views),
        style=Markup(_resource("page.css")),
        script=Markup(script),
        # Only this very script may run, even if something were injected.
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        gradient=(e.provenance.get("options") or {}).get("gradient"),
    )


def _faces(e: Explanation) -> list[dict[str, Any]]:
    """What the page shows of each face before, or without, its script."""
    panels = colors.panels(e)
    return [
        {
            "name": face,
            "png": data_urls.png(_image(e, face)),
            "beneath": data_urls.png(colors.beneath(e, face)),
            "panels": [panels[kind][face] for kind in KINDS],
            "still": {
                kind: data_urls.png(
                    colors.composite(colors.beneath(e, face), panels[kind][face].overlay())
                )
                for kind in _STILL
            },
        }
        for face in FACES
    ]


def _image(e: Explanation, face: Face) -> np.ndarray:
    return e.probe_image if face == "probe" else e.gallery_image


def _photograph(face: Face, view: View) -> dict[str, Any]:
    """What the page shows of a photograph before its script draws the map."""
    height, width = view.photo.shape[:2]
    return {
        "name": face,
        "jpeg": data_urls.jpeg(view.photo),
        "width": width,
        "height": height,
        # Corners and middle in pixels from the photograph's left top corner.
        "outline": (view.outline + 0.5).round(2).tolist(),
        "middle": [x + 0.5 for x in view.middle],
        "extent": words.extent(view),
    }


def _data(e: Explanation, views: dict[Face, View]) -> dict[str, Any]:
    """What the page's script starts from."""
    height, width = e.probe_image.shape[:2]
    return {
        "cosine": float(e.cosine),
        "threshold": float(e.threshold),
        "height": height,
        "width": width,
        "maps": {
            face: {name: _floats(getattr(getattr(e, face), name)) for name in ("p", "q")}
            for face in FACES
        },
        "tables": {
            "similarity": _base64(colors.table_of("similarity").tobytes()),
            "dissimilarity": _base64(colors.table_of("dissimilarity").tobytes()),
        },
        "photographs": {
            face: {
                "width": view.photo.shape[1],
                "height": view.photo.shape[0],
                "back": view.back.T.ravel().tolist(),  # a canvas's a, b, c, d, e, f
            }
            for face, view in views.items()
        },
        "rules": {
            "share": colors.EMPTY_SHARE,
            "peak": colors.EMPTY_PEAK,
            "rounding": colors.ROUNDING,
        },
    }


def _floats(values: Any) -> str:
    return _base64(np.ascontiguousarray(values, "<f4").tobytes())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _resource(name: str) -> str:
    return (files(__package__ or "fggb_jax.report") / name).read_text("utf-8")

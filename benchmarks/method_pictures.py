"""Draw the pictures of the methods in docs/images/methods: `python benchmarks/method_pictures.py`.

One PNG for each method, or for those that are named: the sample probe, and the probe's map beside
each of its partners, another photograph of the same person and one of another person. The default
model; options as they are by default, but no more than `FORWARDS` forward passes where a method
can be told so.
"""

import io
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from common import ROOT
from PIL import Image, ImageDraw, ImageFont

import fggb_jax as fx
from fggb_jax.attribution import registry
from fggb_jax.data import samples
from fggb_jax.report.colors import beneath, composite, panels

OUT = ROOT / "docs" / "images" / "methods"
PARTNERS = {"obama_b": "same person", "biden": "another person"}
FORWARDS = 200
MOST = 40_000  # bytes of a picture
COLORS = (256, 160, 96, 64, 48, 32, 24, 16)  # of its palette: as many as fit
GAP, LINE = 6, 22
TEXT = 13
INK = "#1b1d21"


def explained(model: fx.FaceModel, name: str) -> dict[str, fx.Explanation]:
    """The probe's partner → the pair, explained by a method."""
    options = {"forwards": FORWARDS} if "forwards" in registry.find(name).options else {}
    probe = samples.chip("obama_a", model.card)
    return {
        partner: fx.explain(model, probe, samples.chip(partner, model.card), name, **options)
        for partner in PARTNERS
    }


def picture(found: dict[str, fx.Explanation]) -> Image.Image:
    """Probe, partner, map, partner, map, with a line of text above."""
    first = next(iter(found.values()))
    tiles, lines = [first.probe_image], ["probe"]
    for partner, e in found.items():
        panel = panels(e)["signed"]["probe"]
        sign = "≥" if e.decision == "accept" else "<"
        tiles += [e.gallery_image, composite(beneath(e, "probe"), panel.overlay())]
        text = f"cos {e.cosine:.3f} {sign} {e.threshold:.3f}"
        lines += [PARTNERS[partner], f"{text}: empty" if panel.empty else text]
    return strip(tiles, lines)


def strip(tiles: Sequence[np.ndarray], lines: Sequence[str]) -> Image.Image:
    """Pictures (H, W, 3) uint8 of one size side by side, a line of text above each."""
    height, width, _ = tiles[0].shape
    sheet = Image.new("RGB", (len(tiles) * (width + GAP) - GAP, height + LINE), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf", TEXT)
    for i, (tile, line) in enumerate(zip(tiles, lines, strict=True)):
        left = i * (width + GAP)
        sheet.paste(Image.fromarray(tile), (left, LINE))
        draw.text((left, 2), line, INK, font)
    return sheet


def png(sheet: Image.Image) -> bytes:
    """With as many colours as `MOST` bytes allow."""
    for count in COLORS:
        file = io.BytesIO()
        small = sheet.quantize(count, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        small.save(file, "PNG", optimize=True)
        if file.tell() <= MOST:
            break
    return file.getvalue()


def main(names: list[str]) -> None:
    """Draw them, and say how large they are."""
    model = fx.load_model()
    OUT.mkdir(parents=True, exist_ok=True)
    for name in names:
        data = png(picture(explained(model, name)))
        (OUT / f"{name}.png").write_bytes(data)
        print(f"{name}.png, {len(data):,} bytes", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or fx.methods())

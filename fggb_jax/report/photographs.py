"""The photographs that the faces were cut from: what of them is shown, and the maps on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from fggb_jax.faces import draw_back, similarity
from fggb_jax.report.colors import FACES, Face

if TYPE_CHECKING:
    from fggb_jax.explanation import Explanation, Placement

# What is shown of a photograph, at most, as (height, width) in lengths of the aligned face's
# longer side: enough to recognize the scene, and no face becomes a dot.
REACH = (2.2, 2.7)
SPARED = 1.25  # times `REACH`: what is not larger along an axis is not cropped along it


@dataclass(frozen=True, eq=False)
class View:
    """What is shown of a photograph.

    Attributes:
        photo: the part, no larger than was asked for.
        matrix: (2, 3) float64, that part → aligned face, pixel centres at integers.
        chip: (height, width) of the aligned face.
        part: (height, width) of the part, in the photograph's own pixels.
        whole: (height, width) of the photograph.
    """

    photo: UInt8[np.ndarray, "H W 3"]
    matrix: np.ndarray
    chip: tuple[int, int]
    part: tuple[int, int]
    whole: tuple[int, int]

    @property
    def outline(self) -> np.ndarray:
        """(4, 2): the aligned face's corners (x, y) on `photo`; some may lie outside it."""
        return draw_back.outline(self.matrix, self.chip)

    @property
    def middle(self) -> tuple[float, float]:
        """(x, y): the aligned face's, or the nearest point to it on `photo`."""
        limit = np.array(self.photo.shape[1::-1]) - 1
        x, y = self.outline.mean(axis=0).clip(0, limit)
        return float(x), float(y)

    @property
    def back(self) -> np.ndarray:
        """(2, 3): aligned face → `photo`, both counted from their corners, as a canvas does.

        The centre of the first pixel is (½, ½) on both sides.
        """
        inverse = similarity.invert(self.matrix)
        half = np.full(2, 0.5)
        return np.column_stack([inverse[:, :2], similarity.apply(inverse, -half) + half])

    def draw(self, values: np.ndarray, longest: int) -> Float32[np.ndarray, "H W"]:
        """A map of the aligned face in its place.

        Args:
            values: (h, w), finite.
            longest: pixels that the result's longer side has at least; it is a whole number of
                times as fine as `photo`, so that a small face keeps its map's detail.
        """
        height, width = self.photo.shape[:2]
        n = max(1, -(-longest // max(height, width)))
        return draw_back.to_photo(values, _scaled(self.matrix, n), (n * height, n * width))


def views(e: Explanation, longest: int) -> dict[Face, View] | None:
    """Both photographs, or None where one is not known or the maps are not of pixels.

    Args:
        e: the explanation.
        longest: of a view's longer side, in pixels, at most.
    """
    probe, gallery = e.probe_placement, e.gallery_placement
    if probe is None or gallery is None or e.plane != "pixels":
        return None
    placements: dict[Face, Placement] = {"probe": probe, "gallery": gallery}
    images = {"probe": e.probe_image, "gallery": e.gallery_image}
    return {face: view(placements[face], images[face].shape[:2], longest) for face in FACES}


def view(placement: Placement, chip: tuple[int, ...], longest: int) -> View:
    """The photograph, or where it is much larger than the face the part around it.

    Args:
        placement: the photograph and where the aligned face lies in it.
        chip: (height, width) of the aligned face.
        longest: of the view's longer side, in pixels, at most.
    """
    whole, matrix = placement.photo.shape[:2], np.asarray(placement.matrix, np.float64)
    (left, top), (right, bottom) = _around(draw_back.outline(matrix, chip), whole)
    part = placement.photo[top:bottom, left:right]
    matrix = np.column_stack([matrix[:, :2], similarity.apply(matrix, np.array([left, top]))])
    height, width = part.shape[:2]
    factor = min(1.0, longest / max(height, width))
    # 899.9999 is 900: rounding must not cost a pixel.
    size = max(1, int(width * factor + 1e-6)), max(1, int(height * factor + 1e-6))
    if factor < 1:
        # Of the last row and column a fraction may be left out, so that the pixels stay square.
        box = 0, 0, min(width, size[0] / factor), min(height, size[1] / factor)
        image = Image.fromarray(np.ascontiguousarray(part))
        part = np.asarray(image.resize(size, Image.Resampling.BICUBIC, box, reducing_gap=2.0))
    chip = chip[0], chip[1]
    return View(part, _scaled(matrix, factor), chip, (height, width), (whole[0], whole[1]))


def _around(outline: np.ndarray, whole: tuple[int, ...]) -> np.ndarray:
    """Left top and right bottom of the part that is shown, (2, 2), in whole pixels."""
    side = max(np.linalg.norm(outline[1] - outline[0]), np.linalg.norm(outline[3] - outline[0]))
    limit = np.array(whole[1::-1])
    reach = np.rint(side * np.array(REACH[::-1])).clip(1)
    size = np.where(limit > SPARED * reach, reach, limit).astype(int)
    start = np.rint(outline.mean(axis=0) + 0.5 - size / 2).astype(int).clip(0, limit - size)
    return np.stack([start, start + size])


def _scaled(matrix: np.ndarray, factor: float) -> np.ndarray:
    """`matrix` for a picture `factor` times as large; pixel centres stay at integers."""
    first = np.full(2, 0.5 / factor - 0.5)  # its first pixel's centre in the picture as it was
    return np.column_stack([matrix[:, :2] / factor, similarity.apply(matrix, first)])

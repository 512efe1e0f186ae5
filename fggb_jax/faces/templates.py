"""Templates: where a recognizer expects a face's landmarks in the chip."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np

from fggb_jax.errors import ImageError, ModelError
from fggb_jax.faces import landmarks as schemes
from fggb_jax.faces import similarity
from fggb_jax.faces.resample import Edge


class Template(ABC):
    """A rule that turns landmarks into the transform photograph → chip.

    Attributes:
        name: what a card calls it.
        schemes: the landmark schemes that it takes, the preferred one first.
        edge: how its chips end where the photograph does.
    """

    name: str
    schemes: tuple[str, ...]
    edge: Edge

    @abstractmethod
    def _fit(self, points: np.ndarray, scheme: str, size: tuple[int, int]) -> np.ndarray:
        """Points of one of `schemes` → (2, 3), photograph → chip of (height, width)."""

    def matrix(
        self,
        landmarks: Mapping[str, np.ndarray],
        size: tuple[int, int],
        scheme: str | None = None,
    ) -> np.ndarray:
        """The similarity transform photograph → chip.

        Args:
            landmarks: name of the scheme → (P, 2) points in the photograph.
            size: (height, width) of the chip in pixels.
            scheme: the scheme to start from, such as a card names; where None, the first of
                `self.schemes` that `landmarks` holds or leads to.

        Returns:
            (2, 3) float64; pixel centres lie at integers on both sides.

        Raises:
            ImageError: no landmarks that fit, or such as no face can have.
            ModelError: the template does not take the scheme, or the size.
        """
        if scheme is not None:
            schemes.check_scheme(scheme)
            if scheme not in self.schemes:
                raise ModelError(
                    f"template {self.name!r} does not take {scheme!r} landmarks; it takes "
                    f"{' or '.join(self.schemes)}"
                )
        wanted = (scheme,) if scheme else self.schemes
        # Landmarks that are there come before those that have to be derived.
        for name in sorted(wanted, key=lambda name: name not in landmarks):
            points = schemes.find(landmarks, name)
            if points is not None:
                return self._fit(points, name, size)
        raise ImageError(
            f"template {self.name!r} needs {' or '.join(wanted)} landmarks; "
            f"the face has {', '.join(sorted(landmarks)) or 'none'}"
        )


class ArcFace(Template):
    """The five points of insightface, which fits photograph → chip.

    Another size than 112×112 shows the same part of the face: the pattern is centred and its
    112 pixels become the longer side, so that 112 high and 96 wide is SphereFace's template.
    """

    name = "arcface-112"
    schemes = ("arcface-5",)
    edge = "blend"
    POINTS = np.array(
        [
            [38.2946, 51.6963],
            [73.5318, 51.5014],
            [56.0252, 71.7366],
            [41.5493, 92.3655],
            [70.7299, 92.2041],
        ]
    )
    SIDE = 112

    def _fit(self, points: np.ndarray, scheme: str, size: tuple[int, int]) -> np.ndarray:
        return similarity.fit(points, self.points(size))

    def points(self, size: tuple[int, int]) -> np.ndarray:
        """(5, 2) where the landmarks go in a chip of (height, width), in pixels."""
        height, width = size
        # About the chip's middle, so that pixel centres, not corners, are what is scaled.
        middle = (self.SIDE - 1) / 2
        scaled = (self.POINTS - middle) * (max(size) / self.SIDE)
        return scaled + (np.array([width, height]) - 1) / 2


class Dlib(Template):
    """dlib's `get_face_chip` with a padding of 0.25.

    dlib fits chip → photograph, so that its scale is not quite the inverse of the other way's, and
    lays the centres of the outermost pixels on the edges of the fitted square less one pixel of
    the photograph. Both are reproduced, since the network was trained on such chips. Of the 68
    points it leaves out jaw, brows and lower lip.
    """

    name = "dlib-150"
    schemes = ("dlib-5", "dlib-68")
    edge = "cut"
    PADDING = 0.25
    # A face's mean shape in the unit square.
    POINTS_5 = np.array(
        [
            [0.8595674595992, 0.2134981538014],
            [0.6460604764104, 0.2289674387677],
            [0.1205750620789, 0.2137274526848],
            [0.3340850613712, 0.2290642403242],
            [0.4901123135679, 0.6277975316475],
        ]
    )
    USED_68 = (*range(27, 55), *range(60, 65))
    # fmt: off
    POINTS_68 = np.array([
        # 27-30 bridge of the nose, 31-35 base of the nose
        [0.490127, 0.203352], [0.490127, 0.307009], [0.490127, 0.409805], [0.490127, 0.515625],
        [0.36688, 0.587326], [0.426036, 0.609345], [0.490127, 0.628106], [0.554217, 0.609345],
        [0.613373, 0.587326],
        # 36-41 left eye, 42-47 right eye
        [0.121737, 0.216423], [0.187122, 0.178758], [0.265825, 0.179852], [0.334606, 0.231733],
        [0.260918, 0.245099], [0.182743, 0.244077],
        [0.645647, 0.231733], [0.714428, 0.179852], [0.793132, 0.178758], [0.858516, 0.216423],
        [0.79751, 0.244077], [0.719335, 0.245099],
        # 48-54 and 60-64 upper lip, outside and inside
        [0.254149, 0.780233], [0.340985, 0.745405], [0.428858, 0.727388], [0.490127, 0.742578],
        [0.551395, 0.727388], [0.639268, 0.745405], [0.726104, 0.780233],
        [0.290379, 0.784792], [0.428096, 0.778746], [0.490127, 0.785343], [0.552157, 0.778746],
        [0.689874, 0.784792],
    ])
    # fmt: on

    def _fit(self, points: np.ndarray, scheme: str, size: tuple[int, int]) -> np.ndarray:
        height, width = size
        if height != width or width < 2:
            raise ModelError(
                f"template {self.name!r} makes square chips; the card's size is {height}×{width}"
            )
        if scheme == "dlib-68":
            points, shape = points[list(self.USED_68)], self.POINTS_68
        else:
            shape = self.POINTS_5
        chip = (self.PADDING + shape) / (2 * self.PADDING + 1) * width
        # Fitted the other way round, the errors would name the template's points as the face's.
        similarity.fit(points, chip)
        to_photo = similarity.fit(chip, points)
        step = similarity.scale(to_photo)
        linear = to_photo[:, :2] * ((width * step - 1) / (width - 1) / step)
        centre = similarity.apply(to_photo, np.full(2, width / 2))
        shift = centre - linear @ np.full(2, (width - 1) / 2)
        return similarity.invert(np.column_stack([linear, shift]))


TEMPLATES: dict[str, Template] = {t.name: t for t in (ArcFace(), Dlib())}


def template(name: str | None) -> Template:
    """A template by the name that a card gives.

    Raises:
        ModelError: there is no such template; those that are get listed.
    """
    if name is None:
        raise ModelError(
            "the model's card names no template, so faces cannot be aligned for it; name one "
            f"({', '.join(TEMPLATES)}) or give aligned faces"
        )
    if name not in TEMPLATES:
        raise ModelError(f"there is no template {name!r}; templates: {', '.join(TEMPLATES)}")
    return TEMPLATES[name]

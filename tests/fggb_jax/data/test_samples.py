import numpy as np
import pytest

import fggb_jax as fx
from fggb_jax.data import samples
from tolerances import cosine_gap


def test_chips_have_the_cards_size():
    for card in fx.cards().values():
        for name in samples.NAMES:
            assert samples.chip(name, card).shape == (*card.size, 3)


def test_unknown_samples_and_templates_are_named():
    card = fx.Card("c", (10, 10), template="square")
    with pytest.raises(fx.ImageError, match="no sample 'obama_a' for template 'square'"):
        samples.chip("obama_a", card)


def test_landmarks_lie_in_the_photographs():
    photos = samples.landmarks()["photos"]
    for name in samples.NAMES:
        height, width = samples.photograph(name).shape[:2]
        for points in photos[f"{name}.jpg"].values():
            x, y = np.asarray(points).T
            assert ((x > 0) & (x < width) & (y > 0) & (y < height)).all()


def test_dlibs_chips_are_those_of_the_photographs(dlib_proto):
    """Cut again from the small photographs by dlib itself: the same face to the network."""
    dlib = pytest.importorskip("dlib")
    model = fx.load_model()
    photos = samples.landmarks()["photos"]
    for name in samples.NAMES:
        points = [dlib.point(round(x), round(y)) for x, y in photos[f"{name}.jpg"]["dlib-5"]]
        image = samples.photograph(name)
        box = dlib.rectangle(0, 0, image.shape[1], image.shape[0])
        face = dlib.full_object_detection(box, dlib.points(points))
        again = dlib.get_face_chip(np.ascontiguousarray(image), face, size=150, padding=0.25)
        z = model.embed(np.stack([samples.chip(name, model.card), again]))
        assert cosine_gap(z[0], z[1]) < 0.01

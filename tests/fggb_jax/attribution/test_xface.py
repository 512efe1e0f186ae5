import numpy as np
import pytest

import fggb_jax as fx
import tiny
from hidden_parts import (
    SIZE,
    by_cosine,
    compared,
    curved_model,
    face_map,
    faces,
    linear,
    to_the_first_axis,
    weights,
)
from tolerances import assert_close


def as_published(model, pair, pairing, sizes, stride):
    """By loops over patches, as the paper's formula has it."""
    unit = lambda images: np.asarray(  # noqa: E731
        [z / np.linalg.norm(z) for z in np.asarray(model.embed(np.float32(images)))]
    )
    probe, gallery = unit(pair)
    maps = []
    for p in sizes:
        corners = [(y, x) for y in range(0, 14 - p, stride) for x in range(0, 12 - p, stride)]
        masks = np.ones((len(corners), *SIZE))
        for mask, (y, x) in zip(masks, corners, strict=True):
            mask[y : y + p, x : x + p] = 0
        ours, theirs = (unit(face * masks[..., None]) for face in pair)
        distances = {
            "single": 1 - ours @ gallery,
            "same": [1 - a @ b for a, b in zip(ours, theirs, strict=True)],
            "all": [np.mean([1 - a @ b for b in theirs]) for a in ours],
        }[pairing]
        rise = (np.array(distances) - (1 - probe @ gallery)) / p**2
        maps.append(np.mean((1 - masks) * rise[:, None, None], 0))
    return np.mean(maps, 0)


@pytest.mark.parametrize("pairing", ["single", "same", "all"])
def test_the_papers_formula(pairing):
    model, pair = curved_model(), faces()
    s = face_map(compared(model, pair), "xface", pairing=pairing, sizes=(2, 3, 5), stride=2)
    assert_close(s, as_published(model, pair, pairing, (2, 3, 5), 2), 1e-4)


@pytest.mark.parametrize(("pairing", "forwards"), [("single", 1130), ("all", 2260)])
def test_the_papers_forward_passes(pairing, forwards):
    model = by_cosine(lambda grey: grey[:, 50, 60] / 2 + 0.1, (112, 112))
    c = compared(model, faces(size=(112, 112)))
    s = face_map(c, "xface", pairing=pairing)
    assert c.forwards == forwards
    if pairing == "single":
        assert np.argmax(np.abs(s)) in [y * 112 + x for y in range(45, 55) for x in range(55, 65)]


def test_single_patches_of_a_linear_model():
    w, image = weights(), faces()[0]
    s = face_map(to_the_first_axis(linear(w), image), "xface", sizes=(1,), stride=1)
    expected = w * image.mean(-1) / (13 * 11)
    expected[-1], expected[:, -1] = 0, 0  # the published grid ends a pixel before the edge
    assert_close(s, expected, 1e-4)


def test_gaps_have_nothing():
    s = face_map(compared(curved_model(), faces()), "xface", sizes=(2,), stride=4)
    assert (s[2:4] == 0).all()
    assert (s[:, 2:4] == 0).all()
    assert (s[:2, :2] != 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pairing": "both"}, "pairing is 'both'; choose one of single, same, all"),
        ({"sizes": ()}, "sizes is empty"),
        ({"sizes": (3, 13)}, "sizes is 13; give a whole number from 1 to 12"),
        ({"stride": 0}, "stride is 0"),
        ({"sizes": (1, 2, 3), "forwards": 2}, "forwards pays for 2 patches of 3 sizes"),
        ({"pairing": "all", "forwards": 1}, "forwards is 1; give a whole number, 2 or more"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(fx.OptionError, match=message):
        face_map(compared(curved_model(), faces()), "xface", **options)


def test_one_size_is_a_number():
    model, pair = tiny.model(), tiny.faces(2)
    one, listed = (
        fx.explain(model, *pair, method="xface", threshold=0.3, sizes=sizes, stride=2)
        for sizes in (3, [3])
    )
    np.testing.assert_array_equal(one.probe.signed, listed.probe.signed)

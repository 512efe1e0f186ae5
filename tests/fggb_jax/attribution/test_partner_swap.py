import numpy as np
import pytest

import fggb_jax as fx
from fggb_jax.attribution.perturbation import patches
from hidden_parts import (
    SIZE,
    compared,
    curved_model,
    face_map,
    faces,
    linear,
    to_the_first_axis,
    weights,
)
from tolerances import assert_close


def test_disjoint_patches_of_a_linear_model():
    w, (image, partner) = weights(), faces()
    c = to_the_first_axis(linear(w), image, partner)
    s = face_map(c, "partner_swap", size=2, stride=2, edge=0)
    lost = w * (image - partner).mean(-1)
    expected = lost.reshape(7, 2, 6, 2).sum((1, 3)).repeat(2, 0).repeat(2, 1)
    assert_close(s, expected, 1e-4)


def test_what_the_partner_has_better_speaks_against_the_match():
    w = np.full(SIZE, 1 / 300)
    image = np.full((*SIZE, 3), 0.5, np.float32)
    partner = image.copy()
    partner[3:6, 2:5], partner[10:12, 8:10] = 1, 0
    s = face_map(to_the_first_axis(linear(w), image, partner), "partner_swap", size=3, edge=0)
    assert s[4, 3] == s.min() < 0
    assert s[10, 8] > 0
    assert (s[:, :2] <= 0).all()


def test_soft_edges_mix_the_faces():
    model, pair = curved_model(), faces()
    c = compared(model, pair)
    s = face_map(c, "partner_swap", size=4, stride=3, edge=2)
    masks = np.float64(patches(SIZE, 4, 3, None, 2)[:])
    assert len(np.unique(masks)) > 2
    images = (1 - masks[..., None]) * pair[0] + masks[..., None] * pair[1]
    z = np.asarray(model.embed(np.float32(images)))
    falls = c.cosine - z @ c.target / np.linalg.norm(z, axis=1)
    assert_close(s, np.tensordot(falls, masks, 1) / masks.sum(0), 1e-4)


def test_a_face_swapped_with_itself_is_empty():
    face = faces()[0]
    s = face_map(compared(curved_model(), (face, face)), "partner_swap")
    assert np.abs(s).max() < 1e-6


def test_options_that_make_no_sense():
    with pytest.raises(fx.OptionError, match="edge is -1; give a whole number, 0 or more"):
        face_map(compared(curved_model(), faces()), "partner_swap", edge=-1)

import numpy as np

from fggb_jax.attribution import registry
from fggb_jax.attribution.rise import random_grids
from hidden_parts import SIZE, compared, curved_model, face_map, faces, linear, to_the_first_axis
from tolerances import assert_close


def test_the_mean_where_seen_above_its_lowest():
    model, pair = curved_model(), faces()
    c = compared(model, pair)
    s = face_map(c, "srise", masks=40, cells=3, keep=0.6, fill="grey", seed=5)
    seen = 1 - np.float64(random_grids(SIZE, 40, 3, 0.6, 5)[:])
    images = seen[..., None] * pair[0] + (1 - seen[..., None]) * 0.5
    z = np.asarray(model.embed(np.float32(images)))
    cosines = z @ c.target / np.linalg.norm(z, axis=1)
    mean = np.tensordot(cosines, seen, 1) / seen.sum(0)
    assert_close(s, mean - mean.min(), 1e-4)


def test_it_is_unsigned_and_highest_where_the_face_is_read():
    assert not registry.find("srise").signed
    w = np.zeros(SIZE)
    w[:7, :6] = 0.02
    s = face_map(to_the_first_axis(linear(w), np.ones((*SIZE, 3), np.float32)), "srise")
    assert s.min() == 0
    assert s[1:6, 1:5].min() > s[8:, 7:].max()


def test_what_is_never_seen_does_not_set_the_pedestal():
    c = compared(curved_model(), faces())
    s = face_map(c, "srise", masks=2, cells=2, keep=0.1, seed=0)
    seen = (1 - random_grids(SIZE, 2, 2, 0.1, 0)[:]).max(0) > 0
    assert (~seen).any()
    assert seen.any()
    assert s[seen].min() == 0
    assert (s[~seen] == 0).all()

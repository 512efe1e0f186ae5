import numpy as np
import pytest

import fggb_jax as fx
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

MODES = ["removal", "iterative_removal", "aggregation", "iterative_aggregation"]


def spots(sigma, rows, columns):
    """On the middles of a grid of equal cells."""
    y, x = np.arange(14)[:, None] + 0.5, np.arange(12) + 0.5
    middles = [((i + 0.5) * 14 / rows, (j + 0.5) * 12 / columns)
               for i in range(rows) for j in range(columns)]  # fmt: skip
    return np.stack([np.exp(-((y - a) ** 2 + (x - b) ** 2) / 2 / sigma**2) for a, b in middles])


def test_alone_in_a_linear_model():
    """A spot's removal costs what its addition brings: the sum under it."""
    w, image = weights(), faces()[0]
    c = to_the_first_axis(linear(w), image)
    m = spots(1.5, 5, 4)
    changes = (m * w * image.mean(-1)).sum((1, 2))
    expected = np.tensordot(changes, m, 1) / m.sum(0)
    for mode in ("removal", "aggregation"):
        s = face_map(c, "minplus", mode=mode, sigma=1.5, stride=3)
        assert_close(s, expected, 1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_by_loops(mode):
    """Written apart from the library: what is seen of the face is kept as an image."""
    model, pair = curved_model(), faces()
    c = compared(model, pair)
    s = face_map(c, "minplus", mode=mode, sigma=1.5, stride=4, steps=3, fill="grey")

    def cosine(seen):
        image = np.float32(seen[..., None] * pair[0] + (1 - seen[..., None]) * 0.5)
        z = np.asarray(model.embed(image[None]))[0]
        return z @ c.target / np.linalg.norm(z)

    m, adding = spots(1.5, 4, 3), "aggregation" in mode
    hidden = np.ones((14, 12))  # what is still to be added, or what is still to be removed
    seen = lambda rest: 1 - rest if adding else rest  # noqa: E731
    value, left = {}, set(range(len(m)))
    for _ in range(3 if "iterative" in mode else 1):
        now = cosine(seen(hidden))
        for k in left:
            change = cosine(seen(hidden * (1 - m[k]))) - now
            value[k] = change if adding else -change
        best = max(left, key=value.get)
        left.remove(best)
        hidden = hidden * (1 - m[best])
    values = np.array([value[k] for k in range(len(m))])
    assert_close(s, np.tensordot(values, m, 1) / m.sum(0), 1e-3)


def test_the_average_is_of_all_four():
    model, pair = curved_model(), faces()
    options = {"sigma": 1.5, "stride": 4, "steps": 3}
    each = [face_map(compared(model, pair), "minplus", mode=m, **options) for m in MODES]
    c = compared(model, pair)
    assert_close(face_map(c, "minplus", **options), np.mean(each, 0), 1e-5)
    assert c.forwards == 2 * 12 * 3 + 1  # 4×3 spots, and the empty face


def test_what_is_there_twice_is_found_in_its_turn():
    """Two pixels of which one is enough: without either nothing is lost, without both all is."""
    best = by_cosine(lambda grey: 0.8 * np.maximum(grey[:, 3, 3], 0.9 * grey[:, 10, 9]))
    c = to_the_first_axis(best, np.ones((*SIZE, 3), np.float32))
    options = {"sigma": 0.2, "stride": 1}
    alone = face_map(c, "minplus", mode="removal", **options)
    in_turn = face_map(c, "minplus", mode="iterative_removal", steps=2, **options)
    assert_close(alone[3, 3], np.float64(0.08), 1e-3)
    assert abs(alone[10, 9]) < 1e-6
    assert in_turn[10, 9] > 0.7


def test_steps_go_before_the_grid():
    model, pair = curved_model(), faces()
    c = compared(model, pair)
    few = face_map(c, "minplus", sigma=1.5, stride=4, steps=5, forwards=60)
    assert c.forwards == 49
    assert_close(few, face_map(compared(model, pair), "minplus", sigma=1.5, stride=4, steps=2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "minus"}, "mode is 'minus'; choose one of average, removal"),
        ({"sigma": 0}, "sigma is 0; give a number above 0"),
        ({"stride": 0}, "stride is 0"),
        ({"steps": 0}, "steps is 0; give a whole number, 1 or more"),
        ({"stride": 14, "steps": 2}, "steps is 2; there are 1 spots: give fewer steps"),
        ({"forwards": 2}, "forwards is 2; give a whole number, 3 or more"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(fx.OptionError, match=message):
        face_map(compared(curved_model(), faces()), "minplus", **options)

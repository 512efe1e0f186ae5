from types import SimpleNamespace

import numpy as np

import fggb_jax as fx
import tiny
from fggb_jax.evaluation import remembered
from fggb_jax.evaluation.remembered import AT_ONCE, Remembered


def counting():
    """A black box, and the numbers of images that it is given."""
    sizes = []
    return fx.BlackBox(lambda x: sizes.append(len(x)) or x.mean((1, 2)), tiny.model().card), sizes


def test_an_image_is_embedded_once():
    model, sizes = counting()
    faces = np.random.default_rng(0).random((8, *tiny.SIZE, 3), np.float32)
    embed = Remembered()
    first = embed(model, 4, lambda part: faces[:4][part])
    both = embed(model, 8, lambda part: faces[part])
    again = embed(model, 8, lambda part: faces[::-1][part])
    assert sizes == [4, 4]
    np.testing.assert_array_equal(first, both[:4])
    np.testing.assert_array_equal(again, both[::-1])
    np.testing.assert_array_equal(both, model.embed(faces))


def test_images_that_come_twice_keep_their_places():
    model, sizes = counting()
    faces = np.random.default_rng(0).random((2, *tiny.SIZE, 3), np.float32)
    twice = faces[[0, 1, 1, 0]]
    found = Remembered()(model, 4, lambda part: twice[part])
    np.testing.assert_array_equal(found, model.embed(twice))
    assert sizes[0] == 2


def test_another_model_embeds_for_itself():
    (first, one), (second, two) = counting(), counting()
    faces, embed = tiny.faces(2).astype(np.float32) / 255, Remembered()
    embed(first, 2, lambda part: faces[part])
    embed(second, 2, lambda part: faces[part])
    assert one == two == [2]


def test_progress_counts_all_images():
    seen, faces = [], np.zeros((AT_ONCE + 1, *tiny.SIZE, 3), np.float32)
    model = counting()[0]
    Remembered()(model, len(faces), lambda part: faces[part], progress=lambda *at: seen.append(at))
    assert seen == [(AT_ONCE, AT_ONCE + 1), (AT_ONCE + 1, AT_ONCE + 1)]


def test_what_is_remembered_counts_as_if_it_had_been_embedded(monkeypatch):
    """A clock that goes on by a second an image: two of the four are known."""
    clock = [0.0]
    model = fx.BlackBox(
        lambda x: clock.__setitem__(0, clock[0] + len(x)) or x.mean((1, 2)), tiny.model().card
    )
    monkeypatch.setattr(remembered, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    faces, embed = tiny.faces(4).astype(np.float32) / 255, Remembered()
    embed(model, 2, lambda part: faces[:2][part])
    assert (clock[0], embed.saved) == (2, 0)
    embed(model, 4, lambda part: faces[part])
    assert (clock[0], embed.saved) == (4, 2)

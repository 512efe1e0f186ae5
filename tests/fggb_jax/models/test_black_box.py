import numpy as np
import pytest

import fggb_jax as fx
import tiny


def black_box(model):
    """The same recognizer without its gradients."""
    return fx.BlackBox(lambda images: np.asarray(model.embed(images)), model.card)


def test_it_is_explained_like_the_model_inside():
    model, faces = tiny.model(), tiny.faces(2)
    inside = fx.explain(model, *faces, method="occlusion", size=3)
    outside = fx.explain(black_box(model), *faces, method="occlusion", size=3)
    assert outside.cosine == inside.cosine
    np.testing.assert_array_equal(outside.probe.signed, inside.probe.signed)
    assert outside.provenance["model_sha256"] is None
    assert black_box(model).dimension == tiny.N


def test_methods_that_need_gradients_are_refused():
    with pytest.raises(fx.OptionError, match=r"'fggb' needs gradients.*choose one of.*occlusion"):
        fx.explain(black_box(tiny.model()), *tiny.faces(2))


def test_a_function_that_embeds_nothing_is_refused():
    card = tiny.model().card
    with pytest.raises(fx.ModelError, match="give a function"):
        fx.BlackBox(None, card)
    with pytest.raises(fx.ModelError, match=r"returns \(5,\) for 1 faces, not one embedding"):
        fx.BlackBox(lambda images: np.zeros(5), card).embed(tiny.faces(1))
    with pytest.raises(fx.ImageError, match="takes"):
        fx.BlackBox(lambda images: images[:, 0, 0], card).embed(np.zeros((1, 4, 4, 3)))

import numpy as np
import pytest

import fggb_jax as fx
import tiny
from fggb_jax.attribution import walk
from fggb_jax.evaluation import walked
from fggb_jax.evaluation.map_maker import MapMaker
from fggb_jax.evaluation.method_spec import MethodSpec
from fggb_jax.evaluation.walked import Walks, of_walk
from tolerances import assert_close

FACES = tiny.faces(4).astype(np.float32) / 255


@pytest.fixture
def pulled(monkeypatch):
    """The images whose channels are pulled back."""
    calls, pull = [], walk.pull_channels
    monkeypatch.setattr(walk, "pull_channels", lambda *a: calls.append(1) or pull(*a))
    return calls


def made(maker, text, partner=1):
    return maker.make(MethodSpec.parse(text), FACES[0], FACES[partner])


def test_one_walk_serves_all_partners_and_the_mean(pulled):
    maker = MapMaker(tiny.model(), 0.3)
    for text, partner in (("fggb", 1), ("fggb", 2), ("image_mean", 1), ("fggb:smooth=1", 3)):
        spec = MethodSpec.parse(text)
        ours = made(maker, text, partner).face
        e = fx.explain(tiny.model(), FACES[0], FACES[partner], spec.method, 0.3)
        for name in ("p", "q", "signed"):
            assert_close(getattr(ours, name), getattr(e.probe, name), relative=1e-5)
    assert len(pulled) == 1
    made(maker, "fggb:gradient=signed")
    made(maker, "fggb:embedding=normalized")
    maker.make(MethodSpec.parse("fggb"), FACES[1], FACES[0])
    assert len(pulled) == 4


def test_a_walk_that_was_remembered_is_charged_to_each_method():
    maker = MapMaker(tiny.model(), 0.3)
    first, second = made(maker, "fggb"), made(maker, "image_mean")
    (walk,) = maker._walks._walked.values()
    assert min(first.seconds, second.seconds) >= walk.seconds > 0


def test_walks_stay_within_their_share_of_the_budget(monkeypatch):
    monkeypatch.setattr(walked, "SHARE", 0.0)
    maker = MapMaker(tiny.model(), 0.3)
    for probe in FACES[:3]:
        maker.make(MethodSpec.parse("fggb"), probe, FACES[3])
    assert len(maker._walks._walked) == 1
    assert Walks(1000).memory == 1000


def test_what_is_summed_of_a_walk():
    exact = {"gradient": "signed", "embedding": "raw", "norms": "exact"}
    assert of_walk("fggb", exact) == {"gradient": "signed", "embedding": "raw", "mean": False}
    assert of_walk("fggb", exact | {"norms": "equal"}) is None
    assert of_walk("occlusion", {}) is None
    with pytest.raises(fx.OptionError, match="gradient is 'none'"):
        of_walk("fggb", exact | {"gradient": "none"})

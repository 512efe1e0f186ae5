import numpy as np
import pytest

import fggb_jax as fx
import tiny
from fggb_jax.attribution.maps import FaceMap
from fggb_jax.evaluation import map_maker
from fggb_jax.evaluation.map_maker import MapMaker
from fggb_jax.evaluation.method_spec import MethodSpec

FACES = tiny.faces(3).astype(np.float32) / 255


@pytest.mark.parametrize(
    "text", ["fggb", "fggb:gradient=signed", "fggb:gradient=signed:norms=equal", "occlusion:size=3"]
)
def test_the_probes_map_is_that_of_explain(text):
    model, spec = tiny.model(), MethodSpec.parse(text)
    made = MapMaker(model, 0.3).make(spec, FACES[0], FACES[1])
    e = fx.explain(model, *FACES[:2], method=spec.method, threshold=0.3, **dict(spec.options))
    np.testing.assert_allclose(made.face.signed, e.probe.signed, rtol=1e-5, atol=1e-7)
    assert made.cosine == pytest.approx(e.cosine, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("fggb", (1, tiny.N)),
        ("fggb:gradient=signed:norms=equal", (1, 3)),
        ("gradient", (1, 1)),
        ("occlusion:forwards=9", (9, 0)),
    ],
)
def test_passes_are_counted(text, passes):
    made = MapMaker(tiny.model(), 0.3).make(MethodSpec.parse(text), FACES[0], FACES[1])
    assert (made.forwards, made.backwards) == passes


def test_a_map_is_made_once_however_it_is_read(monkeypatch):
    calls = []
    whole = map_maker._probe_map
    monkeypatch.setattr(map_maker, "_probe_map", lambda *a: calls.append(1) or whole(*a))
    maker = MapMaker(tiny.model(), 0.3)
    for text in ("fggb", "fggb:smooth=1", "fggb:read=magnitude"):
        maker.explainer(MethodSpec.parse(text))(FACES[0], FACES[1])
    assert len(calls) == 1
    maker.explainer(MethodSpec.parse("fggb"))(FACES[0], FACES[2])
    maker.explainer(MethodSpec.parse("fggb"))(FACES[0], FACES[1], model=tiny.model(seed=1))
    assert len(calls) == 3


def test_another_model_gives_another_map():
    explain = MapMaker(tiny.model(), 0.3).explainer(MethodSpec.parse("gradient"))
    own, other = explain(FACES[0], FACES[1]), explain(FACES[0], FACES[1], model=tiny.model(1))
    assert np.abs(own.signed - other.signed).max() > 1e-3


def test_a_map_that_is_not_finite_is_an_error(monkeypatch):
    nan = FaceMap(np.full((8, 8), np.nan), np.zeros((8, 8)), np.float32(0.3))
    monkeypatch.setattr(map_maker, "_probe_map", lambda *_: (nan, 0.5, 0, 0))
    with pytest.raises(fx.ModelError, match="the map of gradient is not finite"):
        MapMaker(tiny.model(), 0.3).make(MethodSpec.parse("gradient"), FACES[0], FACES[1])

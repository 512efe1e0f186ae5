import json

import numpy as np
import pytest

import fggb_jax as fx
from fggb_jax.attribution.maps import FaceMap
from tolerances import assert_close


@pytest.fixture
def explanation():
    rng = np.random.default_rng(0)
    t = np.float32(0.25)
    face = lambda: FaceMap(*rng.normal(size=(2, 5, 4)).astype(np.float32), t)  # noqa: E731
    image = lambda: rng.integers(0, 256, (5, 4, 3), dtype=np.uint8)  # noqa: E731
    provenance = {"threshold_source": "card", "method": "fggb", "model": "m"}
    return fx.Explanation(0.4, 0.25, face(), face(), image(), image(), provenance)


def test_maps_split_by_sign(explanation):
    face = explanation.probe
    assert (face.similarity >= 0).all()
    assert (face.dissimilarity >= 0).all()
    np.testing.assert_array_equal(face.similarity - face.dissimilarity, face.signed)
    assert face.signed.dtype == np.float32


def test_another_threshold_needs_no_network(explanation):
    moved = explanation.at(0.5)
    assert (explanation.decision, moved.decision) == ("accept", "reject")
    assert_close(moved.probe.signed, explanation.probe.p - np.float32(0.5) * explanation.probe.q)
    assert moved.provenance["threshold_source"] == "given"
    assert explanation.threshold == 0.25


def test_at_the_cosine_only_the_pair_remains(explanation):
    face, rest = explanation.gallery, explanation.pair_specific.gallery
    assert_close(rest.signed, face.p - np.float32(0.4) * face.q)


@pytest.mark.parametrize("threshold", [1.5, float("nan"), "auto", None])
def test_thresholds_are_cosines(explanation, threshold):
    with pytest.raises(fx.OptionError, match=r"threshold is .*; give a cosine in \[-1, 1\]"):
        explanation.at(threshold)


def test_save_and_load(explanation, tmp_path):
    path = tmp_path / "pair.npz"
    explanation.save(path)
    again = fx.Explanation.load(path)
    assert again.to_dict() == explanation.to_dict()
    for ours, theirs in ((again.probe, explanation.probe), (again.gallery, explanation.gallery)):
        np.testing.assert_array_equal(ours.p, theirs.p)
        np.testing.assert_array_equal(ours.signed, theirs.signed)
    np.testing.assert_array_equal(again.probe_image, explanation.probe_image)
    names = {"probe_signed", "gallery_signed", "probe_p", "probe_q", "gallery_p", "gallery_q"}
    assert names | {"probe", "gallery"} <= set(np.load(path).files)


def test_what_is_no_explanation_is_refused(tmp_path):
    with pytest.raises(fx.FggbError, match="is not an explanation"):
        fx.Explanation.load(tmp_path / "none.npz")
    path = tmp_path / "other.npz"
    np.savez(path, x=np.zeros(3))
    with pytest.raises(fx.FggbError, match="is not an explanation"):
        fx.Explanation.load(path)


def test_plain_values_are_json(explanation):
    assert json.loads(json.dumps(explanation.to_dict()))["decision"] == "accept"

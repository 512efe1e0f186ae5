"""Explanations built by hand, on the sample portraits."""

from dataclasses import replace

import numpy as np
import pytest

from fggb_jax.attribution.maps import FaceMap
from fggb_jax.data import samples
from fggb_jax.explanation import Explanation, Placement
from fggb_jax.faces.align import align
from fggb_jax.models.card import Card

CARD = Card("a-model", (112, 112), template="arcface-112", licence="CC0-1.0")


def build(maps, *, cosine=0.5, threshold=0.25, images=None, **provenance):
    """An explanation from [(p, q) of the probe, (p, q) of the gallery]."""
    faces = [FaceMap(*(np.asarray(x, np.float32) for x in m), np.float32(threshold)) for m in maps]
    shape = faces[0].p.shape
    images = images or [np.full((*shape, 3), grey, np.uint8) for grey in (80, 160)]
    known = {
        "threshold_source": "card 'a-model'",
        "method": "fggb",
        "options": {"gradient": "magnitude"},
        "model": "a-model",
        "model_sha256": "0123456789abcdef" * 4,
        "card": CARD.to_dict(),
    }
    return Explanation(cosine, threshold, *faces, *images, known | provenance)


@pytest.fixture
def make():
    return build


@pytest.fixture(scope="session")
def portraits():
    """Two portraits with maps of both signs, of a realistic size and heavy tail."""
    random = np.random.default_rng(0)

    def face():
        q = random.gamma(0.5, 2e-4, CARD.size).astype(np.float32)
        return 0.5 * q + random.normal(0, 1e-4, CARD.size).astype(np.float32) * np.sqrt(q / 1e-4), q

    images = [samples.chip(name, CARD) for name in ("obama_a", "biden")]
    return build([face(), face()], images=images)


@pytest.fixture(scope="session")
def placed(portraits):
    """The portraits with the photographs that they were cut from."""

    def placement(name):
        photo = samples.photograph(name)
        points = np.array(samples.landmarks()["photos"][f"{name}.jpg"]["arcface-5"])
        return Placement(
            photo, align(photo, {"arcface-5": points}, CARD.template, CARD.size).matrix
        )

    return replace(
        portraits,
        probe_placement=placement("obama_a"),
        gallery_placement=placement("biden"),
    )


@pytest.fixture
def one_sided(portraits):
    """As `gradient="magnitude"` gives it: similarity alone, S = (cos − t)·Q + a little."""
    faces = [replace(f, p=f.q * np.float32(0.5)) for f in (portraits.probe, portraits.gallery)]
    return replace(portraits, probe=faces[0], gallery=faces[1])


@pytest.fixture
def frequencies(placed):
    """As a method gives it whose maps' axes are frequencies."""
    return replace(placed, provenance=placed.provenance | {"plane": "frequencies"})


@pytest.fixture
def faint(one_sided):
    """Dissimilarity that is there, but too little of it to be more than empty."""
    p, q = one_sided.probe.p.copy(), one_sided.probe.q.copy()
    p[0, :5], q[0, :5] = -0.002 * p.max(), 0
    return replace(one_sided, probe=replace(one_sided.probe, p=p, q=q))

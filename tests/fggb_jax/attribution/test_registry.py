import pytest

import fggb_jax as fx
import tiny
from fggb_jax.attribution import registry


def test_methods_are_listed_with_their_options():
    assert "fggb" in fx.methods()
    assert registry.find("fggb").options == {
        "gradient": "magnitude",
        "embedding": "raw",
        "norms": "exact",
    }


def test_maps_are_of_pixels_unless_a_method_says_otherwise():
    planes = {name: registry.find(name).plane for name in fx.methods()}
    assert {name for name, plane in planes.items() if plane != "pixels"} == {"frequency"}
    pair = tiny.faces(2)
    e = fx.explain(tiny.model(), *pair, method="frequency")
    assert (e.plane, e.provenance["plane"]) == ("frequencies", "frequencies")
    e = fx.explain(tiny.model(), *pair, method="occlusion")
    assert e.plane == "pixels"
    assert "plane" not in e.provenance


def test_unknown_methods_and_options_name_the_known_ones():
    with pytest.raises(fx.OptionError, match=r"no method 'lrp'; choose one of .*fggb"):
        registry.find("lrp")
    with pytest.raises(fx.OptionError, match="'fggb' has no option colour; it has gradient"):
        registry.find("fggb").check({"colour": 1})


def test_a_name_is_registered_once():
    with pytest.raises(ValueError, match="'fggb' is registered twice"):
        registry.method("fggb", "again")(lambda model, a, b, t: None)

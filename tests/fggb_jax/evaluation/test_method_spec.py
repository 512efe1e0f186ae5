import jax.numpy as jnp
import numpy as np
import pytest

import fggb_jax as fx
from fggb_jax.evaluation.method_spec import MethodSpec
from fggb_jax.gaussian import smooth

P = np.float32([[3, -1], [0, 2]])
Q = np.float32([[2, 2], [0, 4]])
FACE = fx.FaceMap(jnp.asarray(P), jnp.asarray(Q), jnp.float32(0.5))  # S = [[2, −2], [0, 0]]


def reading(text, cosine=0.25):
    return MethodSpec.parse(text).reading(FACE, cosine)


def test_a_name_alone():
    assert MethodSpec.parse("fggb") == MethodSpec("fggb", "fggb")


def test_options_numbers_words_and_how_it_is_read():
    spec = MethodSpec.parse("fggb:gradient=signed:read=magnitude:smooth=1.5")
    assert spec.options == (("gradient", "signed"),)
    assert (spec.read, spec.smooth) == ("magnitude", 1.5)
    occlusion = MethodSpec.parse("occlusion:size=3:fill=0.5:stride=none")
    assert dict(occlusion.options) == {"size": 3, "fill": 0.5, "stride": None}


def test_shared_options_are_for_those_that_have_them_and_give_way():
    assert MethodSpec.parse("fggb", {"forwards": 8}).options == ()
    assert MethodSpec.parse("occlusion", {"forwards": 8}).options == (("forwards", 8),)
    assert MethodSpec.parse("occlusion:forwards=4", {"forwards": 8}).options == (("forwards", 4),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lrp", "no method 'lrp'"),
        ("fggb:colour=1", "has no option colour"),
        ("fggb:signed", "'signed' is no option; write name:option=value"),
        ("fggb:read=loud", "read is 'loud'; choose one of signed, magnitude, pair_specific"),
        ("fggb:smooth=-1", "smooth is -1; give a σ"),
        ("fggb:smooth=much", "smooth is 'much'; give a σ"),
    ],
)
def test_what_makes_no_sense_is_refused(text, message):
    with pytest.raises(fx.OptionError, match=message):
        MethodSpec.parse(text)


def test_signed_maps_are_split_by_sign():
    found = reading("fggb")
    np.testing.assert_array_equal(found.similarity, [[2, 0], [0, 0]])
    np.testing.assert_array_equal(found.dissimilarity, [[0, 2], [0, 0]])


def test_magnitudes_are_for_both():
    found = reading("fggb:read=magnitude")
    for values in (found.similarity, found.dissimilarity, found.signed):
        np.testing.assert_array_equal(values, [[2, 2], [0, 0]])


def test_the_pair_specific_map_is_that_at_the_cosine():
    np.testing.assert_array_equal(reading("fggb:read=pair_specific").signed, P - 0.25 * Q)


def test_a_method_without_a_sign_is_read_as_its_own_map():
    np.testing.assert_array_equal(reading("gradient").similarity, Q)
    np.testing.assert_array_equal(reading("gradient").dissimilarity, Q)


def test_smoothing_comes_before_the_split():
    signed = smooth(np.float32([[2, -2], [0, 0]]), 1)
    np.testing.assert_array_equal(reading("fggb:smooth=1").similarity, signed.clip(min=0))

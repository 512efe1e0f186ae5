import numpy as np
import pytest

import fggb_jax as fx
from fggb_jax.attribution.options import not_negative, one_of, whole, within


def test_what_makes_sense_passes():
    assert whole("n", np.int64(3), 1) == 3
    assert whole("n", 0, 0, 0) == 0
    assert within("x", np.float32(0.5), 0, 1) == 0.5
    assert not_negative("x", 0) == 0
    one_of("word", "a", ("a", "b"))


@pytest.mark.parametrize(
    ("check", "given", "message"),
    [
        (whole, (0, 1), "x is 0; give a whole number, 1 or more"),
        (whole, (True, 1), "x is True; give a whole number, 1 or more"),
        (whole, (2.0, 1, 5), r"x is 2\.0; give a whole number from 1 to 5"),
        (whole, (6, 1, 5), "x is 6; give a whole number from 1 to 5"),
        (within, (0, 0, 1), "x is 0; give a number between 0 and 1"),
        (within, (float("nan"), 0, np.inf), "x is nan; give a number above 0"),
        (within, (np.inf, 0, np.inf), "x is inf; give a number above 0"),
        (within, (True, 0, 2), "x is True; give a number between 0 and 2"),
        (not_negative, (-0.1,), r"x is -0\.1; give a number, 0 or more"),
        (not_negative, (np.inf,), "x is inf; give a number, 0 or more"),
        (not_negative, ("5",), "x is '5'; give a number, 0 or more"),
        (one_of, ("c", ("a", "b")), "x is 'c'; choose one of a, b"),
    ],
)
def test_what_makes_none_is_refused(check, given, message):
    with pytest.raises(fx.OptionError, match=message):
        check("x", *given)

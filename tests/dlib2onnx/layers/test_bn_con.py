import numpy as np
import pytest

from dlib2onnx import DlibFormatError
from dlib2onnx.layers import BnCon, Shape

SHAPE = Shape(1, 4, 4)
BN = BnCon(name="bn")


def by_hand(f, *, variance=3.0, epsilon=1.0):
    """γ 10, β 5, running mean 2: γ (x − 2) / √(3 + 1) + 5 = 5 x − 5."""
    return (
        f.string("bn_con2") + f.tensor([10, 5], (2, 1, 1, 1)) + f.alias(1, 1, 1, 1) * 2
        + f.EMPTY * 2 + f.tensor([2], (1, 1, 1, 1)) + f.tensor([variance], (1, 1, 1, 1))
        + f.integers(7, 100) + f.MULTIPLIERS + f.real(epsilon)
    )  # fmt: skip


def test_by_hand(dlib_format):
    weights = dlib_format.read_details(BN, by_hand(dlib_format), SHAPE)
    assert weights["gamma"].tolist() == [5]
    assert weights["beta"].tolist() == [-5]


def test_many_channels(dlib_format):
    raw, expected = dlib_format.details(BN, Shape(7, 4, 4), np.random.default_rng(0))
    weights = dlib_format.read_details(BN, raw, Shape(7, 4, 4))
    for name in ("gamma", "beta"):
        assert weights[name].dtype == np.float64  # rounded once, by fold_affine
        np.testing.assert_allclose(weights[name], expected[name], rtol=1e-12)


@pytest.mark.parametrize(
    ("variance", "epsilon"), [(-1.0, 1.0), (0.0, 0.0), (1.0, float("nan")), (1.0, float("inf"))]
)
def test_what_has_no_root(dlib_format, variance, epsilon):
    raw = by_hand(dlib_format, variance=variance, epsilon=0.0)
    if epsilon != 0.0:
        ending = {True: "01 00 02 02 7d", False: "01 00 02 00 7d"}[epsilon != epsilon]
        ending = bytes.fromhex(ending) if not np.isfinite(epsilon) else dlib_format.real(epsilon)
        raw = raw[: -len(dlib_format.real(0.0))] + ending
    with pytest.raises(DlibFormatError, match="variance and epsilon must have a positive sum"):
        dlib_format.read_details(BN, raw, SHAPE)


def test_channels_must_be_those_of_the_layer_before(dlib_format):
    with pytest.raises(DlibFormatError, match=r"bn: params should have the size \(4, 1, 1, 1\)"):
        dlib_format.read_details(BN, by_hand(dlib_format), Shape(2, 4, 4))

import numpy as np
import pytest

from dlib2onnx import DlibFormatError
from dlib2onnx.fold import fold_affine
from dlib2onnx.layers import Affine, Con, Relu, Shape
from dlib2onnx.layers.base import Window
from dlib2onnx.network import Step

SHAPE = Shape(2, 1, 1)


def con(weight=(1.0, 2.0), bias=(3.0, 4.0)):
    weights = {
        "weight": np.array(weight, np.float32).reshape(2, 1, 1, 1),
        "bias": np.array(bias, np.float32),
    }
    return Step(Con(2, Window(1, 1, 1, 1), name="conv"), weights, SHAPE, 10)


def affine(gamma=(10.0, -1.0), beta=(5.0, 6.0)):
    weights = {"gamma": np.array(gamma, np.float32), "beta": np.array(beta, np.float32)}
    return Step(Affine(name="affine"), weights, SHAPE, 20)


RELU = Step(Relu(name="relu"), {}, SHAPE, 30)


def test_by_hand():
    folded = fold_affine([con(), affine(), RELU])
    assert [step.layer.name for step in folded] == ["conv", "relu"]
    np.testing.assert_array_equal(folded[0].weights["weight"].ravel(), [10, -2])
    np.testing.assert_array_equal(folded[0].weights["bias"], [35, 2])
    assert folded[0].weights["weight"].dtype == folded[0].weights["bias"].dtype == np.float32


def test_rounds_once():
    # (1 + 2^-12)² - 1 = 2^-11 + 2^-24; in float32 the square loses its last term.
    x = 1 + 2**-12
    folded = fold_affine([con(bias=(x, 0)), affine(gamma=(x, 1), beta=(-1, 0))])
    assert folded[0].weights["bias"][0] == 2**-11 + 2**-24


def test_only_right_behind_a_convolution():
    steps = [affine(), con(), RELU, affine()]
    assert fold_affine(steps) == steps


def test_overflow_names_the_affine_layer():
    with pytest.raises(DlibFormatError, match=r"affine: folded .* overflows float32 \(at byte 20"):
        fold_affine([con(weight=(3e38, 1)), affine()])

"""RNN, GRU and LSTM equal onnxruntime's, in both directions, with lengths and all activations."""

import numpy as np
import pytest

import single
from tolerances import assert_close

TIME, BATCH, INPUTS, HIDDEN = 5, 3, 4, 6
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
OUTPUTS = {"RNN": ["y", "h"], "GRU": ["y", "h"], "LSTM": ["y", "h", "c"]}


def inputs(op, directions, lengths, peepholes=False):
    rng = np.random.default_rng(0)
    gates = GATES[op] * HIDDEN

    def draw(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    given = {
        "x": draw(TIME, BATCH, INPUTS),
        "w": draw(directions, gates, INPUTS),
        "r": draw(directions, gates, HIDDEN),
        "b": draw(directions, 2 * gates),
        "lengths": np.int32([5, 2, 3]) if lengths else None,
        "h0": draw(directions, BATCH, HIDDEN),
    }
    if op == "LSTM":
        given["c0"] = draw(directions, BATCH, HIDDEN)
        given["p"] = draw(directions, 3 * HIDDEN) if peepholes else None
    return given


def agree(op, given, **attributes):
    proto = single.model(op, given, OUTPUTS[op], 14, hidden_size=HIDDEN, **attributes)
    for y, expected in zip(
        single.ours(proto, given), single.onnxruntimes(proto, given), strict=True
    ):
        assert_close(y, expected, relative=1e-5)


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("lengths", [False, True], ids=["whole", "lengths"])
def test_directions_and_lengths(op, direction, lengths):
    directions = 2 if direction == "bidirectional" else 1
    agree(op, inputs(op, directions, lengths), direction=direction)


@pytest.mark.parametrize("linear", [0, 1])
def test_the_gru_resets_before_or_after_its_product(linear):
    agree("GRU", inputs("GRU", 1, False), linear_before_reset=linear)


@pytest.mark.parametrize("forget", [0, 1])
def test_the_lstm_with_peepholes_and_coupled_gates(forget):
    given = inputs("LSTM", 2, True, peepholes=True)
    agree("LSTM", given, direction="bidirectional", input_forget=forget)


@pytest.mark.parametrize(
    "names",
    [
        ["Relu"],
        ["Softsign"],
        ["Softplus"],
        ["Affine"],
        ["LeakyRelu"],
        ["ThresholdedRelu"],
        ["ScaledTanh"],
        ["HardSigmoid"],
        ["Elu"],
    ],
)
def test_activations(names):
    takes = {"Affine": 2, "ScaledTanh": 2, "HardSigmoid": 2}
    options = {"activations": names, "clip": 3.0}
    if names[0] in ("LeakyRelu", "ThresholdedRelu", "Elu", *takes):
        options["activation_alpha"] = [0.3]
    if names[0] in takes:
        options["activation_beta"] = [0.4]
    agree("RNN", inputs("RNN", 1, False), **options)

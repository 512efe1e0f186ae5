import gc

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import fggb_jax as fx
import tiny
from fggb_jax.evaluation import sanity
from fggb_jax.evaluation.judgement import Case, Reading, find
from fggb_jax.evaluation.sanity import SHARES, from_output, randomised


def case(model):
    faces = tiny.faces().astype(np.float32) / 255
    return Case(model, faces[0], faces[1], True, 0.3, faces[2:], faces.mean(0))


def gradient(model):
    def explain(probe, gallery, model=model):
        e = fx.explain(model, probe, gallery, method="input_x_gradient", threshold=0.3)
        return Reading(e.probe.similarity, e.probe.dissimilarity)

    return explain


def judged(model, explain):
    return find("sanity").judge(case(model), explain)


def test_an_edge_detector_fails():
    """It explains the image, whatever the network."""

    def edges(probe, gallery, model=None):
        values = np.abs(np.diff(probe.mean(-1), axis=0, append=0))
        return Reading(values, np.zeros_like(values))

    found = judged(tiny.model(), edges)
    assert found["rank_correlation"] == pytest.approx(1)
    assert found["randomised"] == pytest.approx([1] * len(SHARES))


def test_a_map_of_the_network_changes():
    """8 × 8 pixels: two random orders of them correlate by 1/√63 = 0.13."""
    models = [tiny.model(seed) for seed in range(3)]
    found = [judged(model, gradient(model)) for model in models]
    curves = np.array([f["randomised"] for f in found])
    assert curves.shape == (3, len(SHARES))
    assert 0 <= curves.min() <= curves.max() < 0.99
    assert curves[:, -1].mean() < 0.6
    np.testing.assert_allclose([f["rank_correlation"] for f in found], curves.mean(1))


def test_a_map_turned_round_counts_as_the_same():
    """And so does one of the other sign: it is the magnitude that is compared."""
    model = tiny.model()
    order = np.arange(64.0).reshape(8, 8) + 1
    zeros = np.zeros_like(order)

    def turned(probe, gallery, model=None):
        return Reading(order, zeros) if model is None else Reading(1 / order, zeros)

    def negated(probe, gallery, model=None):
        return Reading(order, zeros) if model is None else Reading(zeros, order)

    assert judged(model, turned)["rank_correlation"] == pytest.approx(1)
    assert judged(model, negated)["rank_correlation"] == pytest.approx(1)


def test_weights_are_permuted_in_a_cascade_from_the_output():
    """Four arrays, those of `tiny` named in the order of use."""
    model = tiny.model()
    for count, random in enumerate(randomised(model), 1):
        changed = [n for n in "abcd" if (random.params[n] != model.params[n]).any()]
        assert changed == list("abcd")[4 - count :]
        for name, values in random.params.items():
            np.testing.assert_array_equal(
                np.sort(values.ravel()), np.sort(model.params[name].ravel())
            )


def test_made_once_sharing_what_is_permuted_and_gone_with_the_model():
    model = tiny.model()
    made = randomised(model)
    assert randomised(model) is made
    assert made[0].params["d"] is made[3].params["d"]
    assert made[0].params["a"] is model.params["a"]
    count = len(sanity._RANDOMISED)
    del model
    gc.collect()
    assert len(sanity._RANDOMISED) == count - 1


def test_the_same_weights_are_drawn_every_time():
    first, again = randomised(tiny.model()), randomised(tiny.model())
    jax.tree.map(np.testing.assert_array_equal, first[-1].params, again[-1].params)


def test_nothing_is_compiled_again_for_random_weights():
    """The network is traced for the model itself, and never after."""
    traces = []

    def embed(params, x):
        traces.append(x.shape)
        return tiny.network(params, x)

    plain = tiny.model()
    model = fx.FaceModel(embed, jax.tree.map(jnp.asarray, plain.params), plain.card, "abc")
    explain = gradient(model)
    explain(*(case(model).probe, case(model).gallery))
    before = len(traces)
    assert before
    judged(model, explain)
    assert len(traces) == before


def test_whole_numbers_are_left_alone():
    params = {"index": np.arange(5), "scale": np.arange(5, dtype=np.float32)}
    card = fx.Card("gather", size=(8, 8), layout="HWC")
    model = fx.FaceModel(lambda p, x: x.mean((0, 1))[p["index"] % 3] * p["scale"], params, card)
    last = randomised(model)[-1].params
    assert last["index"] is params["index"]
    assert (last["scale"] != params["scale"]).any()


def test_a_converted_network_is_taken_in_the_order_of_its_graph():
    """Names in an order that is not the alphabet's, and initializers in neither."""
    rng = np.random.default_rng(0)
    weights = {
        "m.bias": rng.normal(size=4),
        "a.last": rng.normal(size=(4 * 36, 5)),
        "z.first": rng.normal(size=(4, 3, 3, 3)),
    }
    nodes = [
        helper.make_node("Conv", ["x", "z.first", "m.bias"], ["h"]),
        helper.make_node("Flatten", ["h"], ["f"]),
        helper.make_node("MatMul", ["f", "a.last"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5])],
        [numpy_helper.from_array(v.astype(np.float32), n) for n, v in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(proto)
    model = fx.load_model(proto, card=fx.Card("small", size=(8, 8), threshold=0.3))
    names = sorted(model.params)  # as JAX flattens a dict
    assert [names[i] for i in from_output(model)] == ["a.last", "m.bias", "z.first"]
    first = randomised(model)[0].params
    assert [n for n in names if (first[n] != model.params[n]).any()] == ["a.last"]
    assert 0 <= judged(model, gradient(model))["rank_correlation"] < 1


def test_a_network_that_overflows_is_not_judged():
    model = tiny.model()
    values = np.arange(64.0).reshape(8, 8)

    def explain(probe, gallery, model=None):
        if model is not None:
            raise fx.ModelError("the cosine is nan")
        return Reading(values, 0 * values)

    found = judged(model, explain)
    assert np.isnan(found["randomised"]).all()
    assert np.isnan(found["rank_correlation"])


def test_a_black_box_has_no_weights_and_is_not_explained():
    box = fx.BlackBox(lambda x: x.mean((1, 2)), fx.Card("box", size=(8, 8), threshold=0.3))
    found = judged(box, None)
    assert np.isnan(found["rank_correlation"])
    assert np.isnan(found["randomised"]).all()
    judge = find("sanity")
    assert dict(judge.scores) == {"rank_correlation": "lower"}
    assert len(judge.curves["randomised"][1]) == len(found["randomised"])

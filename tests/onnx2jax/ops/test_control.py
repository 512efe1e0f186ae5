"""Branches and loops: what is known is decided at once, the rest compiled; both ways agree."""

import jax
import numpy as np
import pytest
from onnx import TensorProto, helper

import onnx2jax

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def tensor(name, kind=FLOAT, shape=()):
    return helper.make_tensor_value_info(name, kind, shape)


def graph(nodes, inputs, outputs, name="body", weights=()):
    return helper.make_graph(list(nodes), name, list(inputs), list(outputs), list(weights))


def load(nodes, inputs, outputs, weights=(), **options):
    proto = helper.make_model(
        graph(nodes, inputs, outputs, "main", weights),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )
    return onnx2jax.load(proto, **options)


def branches(shape=(2,)):
    """y = x + x where the condition holds, else x · x."""
    y = [tensor("y", shape=shape)]
    return {
        "then_branch": graph([helper.make_node("Add", ["x", "x"], ["y"])], [], y, "then"),
        "else_branch": graph([helper.make_node("Mul", ["x", "x"], ["y"])], [], y, "else"),
    }


def test_a_branch_is_picked_eagerly_and_compiled_alike():
    inputs = [tensor("c", BOOL), tensor("x", shape=[2])]
    m = load([helper.make_node("If", ["c"], ["y"], **branches())], inputs, [tensor("y", shape=[2])])
    x = np.float32([3, 5])
    for condition, expected in ((True, [6, 10]), (False, [9, 25])):
        for run in (m, jax.jit(m)):
            assert run(m.params, np.asarray(condition), x).tolist() == expected


def test_gradients_flow_through_the_branch_taken():
    inputs = [tensor("c", BOOL), tensor("x", shape=[2])]
    m = load([helper.make_node("If", ["c"], ["y"], **branches())], inputs, [tensor("y", shape=[2])])
    slope = jax.jit(jax.grad(lambda x, c: m(m.params, c, x).sum()))
    assert slope(np.float32([3, 5]), np.asarray(False)).tolist() == [6, 10]


def test_branches_of_other_shapes_need_a_condition_that_is_known():
    bodies = branches([None])
    bodies["else_branch"] = graph(
        [helper.make_node("Concat", ["x", "x"], ["y"], axis=0)], [], [tensor("y", shape=[None])]
    )
    inputs = [tensor("c", BOOL), tensor("x", shape=[2])]
    m = load([helper.make_node("If", ["c"], ["y"], **bodies)], inputs, [tensor("y", shape=[None])])
    x = np.float32([3, 5])
    assert m(m.params, np.asarray(False), x).tolist() == [3, 5, 3, 5]
    with pytest.raises(onnx2jax.DataDependentError, match="call the model outside jit"):
        jax.jit(m)(m.params, np.asarray(False), x)


def powers(limit=None):
    """x doubled in each iteration; where there is a limit, until it is reached."""
    nodes = [helper.make_node("Add", ["s", "s"], ["t"])]
    if limit is None:
        nodes.append(helper.make_node("Identity", ["go"], ["on"]))
    else:
        nodes.append(helper.make_node("Constant", [], ["limit"], value_float=float(limit)))
        nodes.append(helper.make_node("Less", ["t", "limit"], ["on"]))
    nodes.append(helper.make_node("Identity", ["t"], ["each"]))
    outputs = [tensor("on", BOOL), tensor("t"), tensor("each")]
    return nodes, [tensor("i", INT64), tensor("go", BOOL), tensor("s")], outputs


@pytest.mark.parametrize("count", [0, 3, 40])
def test_loops_give_all_iterations_unrolled_or_scanned(count):
    nodes, inputs, outputs = powers()
    loop = helper.make_node(
        "Loop", ["n", "", "x"], ["last", "all"], body=graph(nodes, inputs, outputs)
    )
    m = load(
        [loop], [tensor("n", INT64), tensor("x")], [tensor("last"), tensor("all", shape=[None])]
    )
    assert m.static_inputs == {"n"}
    n = np.asarray(count)
    last, every = jax.jit(lambda x: m(m.params, n, x))(np.float32(1))
    assert last == 2.0**count
    assert every.tolist() == [2.0 ** (i + 1) for i in range(count)]
    assert len(str(jax.make_jaxpr(lambda x: m(m.params, n, x))(np.float32(1)))) < 9000


def test_a_loop_whose_end_is_traced_gives_its_last_state():
    nodes, inputs, outputs = powers(limit=100)
    body = graph(nodes, inputs, outputs[:2])
    loop = helper.make_node("Loop", ["n", "", "x"], ["last"], body=body)
    m = load([loop], [tensor("n", INT64), tensor("x")], [tensor("last")])
    assert not m.static_inputs
    for n, start, expected in ((3, 1, 8), (50, 1, 128), (50, 7, 112), (0, 7, 7)):
        for run in (m, jax.jit(m)):
            assert run(m.params, np.asarray(n), np.float32(start)) == expected


def test_an_end_that_values_decide_has_no_size_under_jit():
    nodes, inputs, outputs = powers(limit=100)
    body = graph(nodes, inputs, outputs)
    loop = helper.make_node("Loop", ["", "", "x"], ["last", "all"], body=body)
    m = load([loop], [tensor("x")], [tensor("last"), tensor("all", shape=[None])])
    assert m(m.params, np.float32(9))[1].tolist() == [18, 36, 72, 144]
    with pytest.raises(onnx2jax.DataDependentError, match="for each iteration"):
        jax.jit(m)(m.params, np.float32(9))


@pytest.mark.parametrize("backwards", [0, 1])
def test_scans_run_either_way(backwards):
    body = graph(
        [helper.make_node("Add", ["s", "x"], ["t"]), helper.make_node("Identity", ["t"], ["y"])],
        [tensor("s"), tensor("x")],
        [tensor("t"), tensor("y")],
    )
    node = helper.make_node(
        "Scan",
        ["s", "xs"],
        ["last", "ys"],
        body=body,
        num_scan_inputs=1,
        scan_input_directions=[backwards],
        scan_output_directions=[backwards],
    )
    m = load(
        [node],
        [tensor("s"), tensor("xs", shape=[4])],
        [tensor("last"), tensor("ys", shape=[4])],
    )
    last, ys = jax.jit(m)(m.params, np.float32(0), np.float32([1, 2, 3, 4]))
    assert last == 10
    assert ys.tolist() == ([10, 9, 7, 4] if backwards else [1, 3, 6, 10])

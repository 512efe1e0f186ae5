"""Files that are broken or mean harm: this project's errors, in little time and memory."""

import time
import tracemalloc

import jax
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import networks
import onnx2jax
from onnx2jax.inspect import summary

SECONDS, MIB = 2, 200  # promise 2
EACH = 10  # seconds, promise 3


def model(nodes, weights=(), shape=(2,), opset=18):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    body = helper.make_graph(list(nodes), "g", [x], [y], list(weights))
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def constant(name, values, dtype=np.int64):
    return numpy_helper.from_array(np.asarray(values, dtype), name)


HUGE = [2**15, 2**16]
NODE = helper.make_node
BOMBS = {
    "expand": ([NODE("Expand", ["one", "shape"], ["b"])], {"one": [1.0], "shape": HUGE}),
    "expand and add": (
        [NODE("Expand", ["one", "shape"], ["c"]), NODE("Add", ["c", "c"], ["b"])],
        {"one": [1.0], "shape": HUGE},
    ),
    "constant of shape": (
        [NODE("ConstantOfShape", ["shape"], ["c"]), NODE("Exp", ["c"], ["b"])],
        {"shape": HUGE},
    ),
    "tile": ([NODE("Tile", ["one", "shape"], ["b"])], {"one": [[1.0]], "shape": HUGE}),
    "range": (
        [NODE("Range", ["zero", "end", "step"], ["b"])],
        {"zero": 0.0, "end": 2.0**31, "step": 1.0},
    ),
    "outer sum": (
        [NODE("Add", ["row", "column"], ["b"])],
        {"row": np.ones((1, 60000)), "column": np.ones((60000, 1))},
    ),
}


@pytest.fixture(scope="module")
def started():
    """JAX takes a second to start, whatever is read."""
    summary(onnx2jax.load(model([NODE("Relu", ["x"], ["y"])])))


@pytest.mark.usefixtures("started")
@pytest.mark.parametrize("name", BOMBS)
def test_nothing_large_is_folded(name):
    """A mean of two gigabytes is added to x: reading and looking at it costs next to nothing."""
    nodes, values = BOMBS[name]
    weights = [constant(n, v, np.int64 if n == "shape" else np.float32) for n, v in values.items()]
    nodes = [*nodes, NODE("ReduceMean", ["b"], ["m"], keepdims=0), NODE("Add", ["x", "m"], ["y"])]
    proto = model(nodes, weights)
    tracemalloc.start()
    start = time.process_time()
    m = onnx2jax.load(proto)
    assert summary(m)["operators"]["Add"] >= 1
    shape = jax.eval_shape(m, m.params, jax.ShapeDtypeStruct((2,), np.float32)).shape
    assert shape == (2,)
    assert time.process_time() - start < SECONDS
    assert tracemalloc.get_traced_memory()[1] < MIB * 2**20
    tracemalloc.stop()


def mutants(count, seed=0):
    """Files of a small network with bytes changed, cut out, or doubled; and mistyped protos."""
    rng = np.random.default_rng(seed)
    whole = networks.iresnet((1, 1, 1, 1), width=8, dimension=16).SerializeToString()
    # The weights are most of the file, and their bytes harm nothing: aim at the rest too.
    for i in range(count):
        data = bytearray(whole)
        kind = i % 5
        if kind == 0:
            data = data[: rng.integers(len(data))]
        elif kind == 1:
            for at in rng.integers(len(data), size=20):
                data[at] = rng.integers(256)
        elif kind == 2:
            start = int(rng.integers(len(data)))
            del data[start : start + int(rng.integers(1, 200))]
        else:
            yield mistyped(onnx.load_from_string(whole), rng)
            continue
        yield bytes(data)


def mistyped(proto, rng):
    """A proto whose nodes were tampered with."""
    node = proto.graph.node[rng.integers(len(proto.graph.node))]
    choice = rng.integers(7)
    if choice == 0 and node.input:
        node.input[0] = proto.graph.node[-1].output[0]  # a cycle
    elif choice == 1:
        node.op_type = str(rng.choice(["Relu", "Conv", "Nonsense", "Loop", "Gather", "Resize"]))
    elif choice == 2:
        del node.input[:]
    elif choice == 3:
        node.attribute.append(helper.make_attribute("group", int(rng.integers(-3, 9))))
    elif choice == 4:
        weight = proto.graph.initializer[rng.integers(len(proto.graph.initializer))]
        weight.dims[:] = [int(d) for d in rng.integers(-2, 2**20, size=2)]
    elif choice == 5:
        weight = proto.graph.initializer[rng.integers(len(proto.graph.initializer))]
        weight.data_type = int(rng.integers(0, 40))
    else:
        weight = proto.graph.initializer[rng.integers(len(proto.graph.initializer))]
        weight.raw_data = b"\xff" * len(weight.raw_data)  # NaN
    return proto


def survives(source):
    """True where a mutant still evaluates; otherwise one of this project's errors stops it."""
    start = time.process_time()
    try:
        m = onnx2jax.load(source)
        jax.eval_shape(m, m.params, *(np.zeros((1, 3, 112, 112), np.float32) for _ in m.inputs))
    except onnx2jax.OnnxError:
        return False
    finally:
        assert time.process_time() - start < EACH
    return True


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_mutants_give_this_projects_errors_alone(count):
    alive = sum(map(survives, mutants(count)))
    assert 0 < alive < 0.7 * count

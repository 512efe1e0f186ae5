import jax
import numpy as np
import pytest

import networks
import onnx2jax
from tolerances import assert_close


@pytest.fixture(scope="module")
def small():
    return onnx2jax.load(networks.iresnet((1, 1, 1, 1), width=8, dimension=16, batch=1))


def images(batch, seed=0):
    return np.random.default_rng(seed).random((batch, 3, 112, 112), dtype=np.float32)


def test_batches_through_vmap_equal_the_loop(small):
    x = images(3)
    batched = jax.jit(small)(small.params, x)
    f = jax.jit(small)
    one_by_one = np.concatenate([f(small.params, x[i : i + 1]) for i in range(3)])
    assert_close(batched, one_by_one)


def test_transforms_compose(small):
    """jit, grad, vmap and scan over the same callable."""
    x = images(2)
    loss = lambda params, x: small(params, x).sum()  # noqa: E731
    gradient = jax.jit(jax.grad(loss))(small.params, x)
    assert gradient.keys() == small.params.keys()
    each = jax.jit(jax.vmap(jax.grad(loss), (None, 0)))(small.params, x[:, None])
    name = max(gradient, key=lambda n: gradient[n].size)
    assert_close(each[name].sum(0), gradient[name], relative=1e-4)
    _, scanned = jax.lax.scan(lambda c, x: (c, small(small.params, x[None])[0]), 0, x)
    assert_close(scanned, jax.jit(small)(small.params, x))


def test_gradients_equal_finite_differences(small):
    """Directional derivative in float64, where a difference quotient is exact enough."""
    with jax.enable_x64(True):
        params = {n: np.asarray(v, np.float64) for n, v in small.params.items()}
        x = images(1).astype(np.float64)
        direction = np.random.default_rng(1).normal(size=x.shape)
        f = jax.jit(lambda x: small(params, x)[0])
        _, tangent = jax.jvp(f, (x,), (direction,))
        step = 1e-6
        quotient = (f(x + step * direction) - f(x - step * direction)) / (2 * step)
        assert tangent.dtype == np.float64
        assert_close(tangent, quotient, relative=1e-6)


def test_models_hash_by_identity(small):
    other = onnx2jax.load(networks.iresnet((1, 1, 1, 1), width=8, dimension=16, batch=1))
    assert small != other
    assert len({small, other, small}) == 2


def test_traces_once_for_equal_shapes(small):
    traces = []

    @jax.jit
    def f(params, x):
        traces.append(None)
        return small(params, x)

    f(small.params, images(2)), f(small.params, images(2, seed=1))
    assert len(traces) == 1


def test_wrong_inputs_are_named(small):
    with pytest.raises(onnx2jax.InputError, match="2 inputs given, 1 wanted: input"):
        small(small.params, images(1), images(1))
    with pytest.raises(onnx2jax.InputError, match=r"'input' has shape \(1, 3, 99, 112\)"):
        small(small.params, images(1)[:, :, :99])


def test_several_outputs_come_as_a_tuple_in_the_graphs_order():
    from onnx import TensorProto, helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])
    outs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in ("b", "a")]
    nodes = [helper.make_node("Neg", ["x"], ["a"]), helper.make_node("Abs", ["x"], ["b"])]
    m = onnx2jax.load(helper.make_model(helper.make_graph(nodes, "g", [x], outs)))
    b, a = m(m.params, np.float32([-1, 2]))
    assert (b.tolist(), a.tolist()) == ([1, 2], [1, -2])

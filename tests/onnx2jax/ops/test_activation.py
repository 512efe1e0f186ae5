"""Activations that bound or bend: their values beside NumPy's, their gradients beside PyTorch's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import single

SLOPE = np.float32(0.25)
# operator → its other inputs, and PyTorch's own by name.
BENT = {
    "Relu": ({}, "relu"),
    "PRelu": ({"slope": SLOPE.reshape(1)}, "prelu"),
    "Clip": ({"min": np.float32(0), "max": np.float32(6)}, "relu6"),
    "LeakyRelu": ({}, "leaky_relu"),
}
# Both bounds and both zeros, what is beyond, between and next to them.
EDGES = np.float32([-np.inf, -1, -1e-30, -0.0, 0, 1e-30, 3, 6, np.nextafter(6, 7), 9, np.inf])


@pytest.mark.parametrize("op", BENT)
def test_slopes_at_a_bound_are_those_of_pytorch(op):
    torch = pytest.importorskip("torch")
    others, name = BENT[op]
    x = EDGES[np.isfinite(EDGES)]
    leaf = torch.tensor(x, requires_grad=True)
    slopes = [torch.tensor(SLOPE.reshape(1))] if op == "PRelu" else []
    getattr(torch.nn.functional, name)(leaf, *slopes).sum().backward()
    ours = jax.grad(lambda v: single.function(op, x, **others)(v).sum())(jnp.asarray(x))
    np.testing.assert_array_equal(ours, leaf.grad.numpy())


@pytest.mark.parametrize("op", ["Relu", "Clip"])
def test_no_number_is_hidden_and_no_nan(op):
    others, _ = BENT[op]
    x = np.append(EDGES, np.float32(np.nan))
    expected = np.clip(x, 0, 6 if op == "Clip" else np.inf)
    np.testing.assert_array_equal(single.function(op, x, **others)(x), expected)


@given(
    x=hnp.arrays(np.int8, 5),
    low=st.none() | st.integers(-128, 127).map(np.int8),
    high=st.none() | st.integers(-128, 127).map(np.int8),
)
def test_bounds_in_any_order_or_none_of_them(x, low, high):
    bounds = {"min": low, "max": high}
    proto = single.model("Clip", {"x": x, **bounds}, ["y"], 17)
    (ours,) = single.ours(proto, {"x": x, **bounds})
    expected = x if low is None else np.maximum(x, low)
    np.testing.assert_array_equal(ours, expected if high is None else np.minimum(expected, high))
    assert ours.dtype == np.int8

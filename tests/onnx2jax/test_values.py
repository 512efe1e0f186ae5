import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from onnx2jax.values import by_lax, traced_once

add = by_lax(operator.add, lax.add)


@pytest.mark.parametrize("other", [jnp.ones((1, 3)), jnp.ones((1, 3), bool), np.ones((1, 3))])
def test_a_sum_is_what_it_is_without_lax(other):
    x = jnp.arange(6, dtype=jnp.float32).reshape(2, 3)
    with jax.numpy_dtype_promotion("standard"):
        found = jax.jit(add)(x, other)
        assert found.dtype == (x + other).dtype
        np.testing.assert_array_equal(found, x + other)


def test_bools_are_added_as_jax_numpy_adds_them():
    x = jnp.array([True, False])
    np.testing.assert_array_equal(jax.jit(add)(x, x), x)


def test_what_every_layer_does_is_traced_once_and_stays_plain_equations():
    calls = []

    @traced_once
    def doubled(x):
        calls.append(x.shape)
        return x * 2

    jaxpr = jax.make_jaxpr(lambda x: doubled(doubled(x)))(jnp.ones(3))
    assert calls == [(3,)]
    assert [eqn.primitive.name for eqn in jaxpr.eqns] == ["mul", "mul"]

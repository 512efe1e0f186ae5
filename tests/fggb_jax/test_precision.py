import jax
import jax.numpy as jnp
import pytest

from fggb_jax.precision import full_precision


def program(told):
    x = jnp.ones((4, 4))
    with jax.default_matmul_precision(told):
        return str(jax.make_jaxpr(full_precision()(jnp.dot))(x, x))


def test_full_unless_told_otherwise():
    assert "HIGHEST" in program(None)
    assert "HIGHEST" not in program("default")
    assert "HIGH" in program("high")
    assert "HIGHEST" not in program("high")


def test_nothing_is_left_set_when_it_fails():
    with pytest.raises(ValueError, match="mine"), full_precision():
        raise ValueError("mine")
    assert jax.config.jax_default_matmul_precision is None

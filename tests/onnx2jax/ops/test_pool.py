import hypothesis
import jax
import numpy as np
from hypothesis import strategies as st
from jax import lax

from onnx2jax.lowering.pool import scatter_to_maxima
from tolerances import assert_close


@st.composite
def windows(draw):
    """(size, window, stride, padding) of a maximum over windows, overlapping or with gaps."""
    pair = lambda low, high: (draw(st.integers(low, high)), draw(st.integers(low, high)))  # noqa: E731
    window = pair(1, 4)
    padding = tuple(tuple(draw(st.integers(0, k - 1)) for _ in range(2)) for k in window)
    size = [k + extra for k, extra in zip(window, pair(0, 7), strict=True)]
    return size, window, pair(1, 4), padding


@hypothesis.given(windows(), st.integers(0, 2**32 - 1))
@hypothesis.settings(max_examples=8, deadline=None)
def test_it_is_the_pullback_of_a_maximum_ties_included(case, seed):
    size, window, stride, padding = case
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 3, (2, *size, 3)).astype(np.float32)  # many equal maxima

    def pool(x):
        edges = [(0, 0), *padding, (0, 0)]
        return lax.reduce_window(x, -np.inf, lax.max, (1, *window, 1), (1, *stride, 1), edges)

    y, pull = jax.vjp(pool, x)
    cotangent = rng.normal(size=y.shape).astype(np.float32)
    assert_close(scatter_to_maxima(cotangent, x, window, stride, padding), pull(cotangent)[0])

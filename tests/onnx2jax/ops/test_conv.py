import hypothesis
import jax
import numpy as np
import pytest
from hypothesis import strategies as st

from onnx2jax.lowering.conv import convolve
from tolerances import assert_close


@st.composite
def convolutions(draw):
    """Shapes of grouped convolutions, shallow groups, any stride, dilation and padding."""
    groups, depth = draw(st.integers(2, 4)), draw(st.integers(1, 2))
    outputs = groups * draw(st.integers(1, 2))
    pair = lambda low, high: [draw(st.integers(low, high)) for _ in range(2)]  # noqa: E731
    kernel, strides, dilations = pair(1, 3), pair(1, 3), pair(1, 2)
    padding = [tuple(pair(0, 2)) for _ in range(2)]
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    size = [draw(st.integers(e, e + 6)) for e in extent]
    return groups, depth, outputs, kernel, strides, dilations, padding, size


@st.composite
def pointwise(draw):
    """Shapes of convolutions of one pixel, most of them neither strided nor padded nor grouped."""
    strides = draw(st.sampled_from([(1, 1), (1, 1), (1, 2)]))
    padding = draw(st.sampled_from([[(0, 0), (0, 0)], [(0, 0), (0, 0)], [(1, 0), (0, 2)]]))
    inputs, outputs, *size = (draw(st.integers(1, 6)) for _ in range(4))
    return 1, inputs, outputs, [1, 1], strides, (1, 1), padding, size


@hypothesis.given(st.one_of(convolutions(), pointwise()), st.integers(0, 2**32 - 1))
@hypothesis.settings(max_examples=25, deadline=None)
def test_our_forms_equal_xlas_own_with_gradients(case, seed):
    groups, depth, outputs, kernel, strides, dilations, padding, size = case
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, groups * depth, *size)).astype(np.float32)
    w = rng.normal(size=(outputs, depth, *kernel)).astype(np.float32)

    def through(target):
        f = lambda x, w: convolve(x, w, strides, padding, dilations, groups, target)  # noqa: E731

        @jax.jit
        def value_and_gradients(x, w):
            y, pull = jax.vjp(f, x, w)
            return y, *pull(y)

        return value_and_gradients(x, w)

    for ours, reference in zip(through("cpu"), through("tpu"), strict=True):
        assert_close(ours, reference, relative=1e-4)


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_grouped_convolutions_vmap_to_the_loop(target):
    rng = np.random.default_rng(0)
    xs = rng.normal(size=(3, 1, 4, 6, 6)).astype(np.float32)
    w = rng.normal(size=(4, 1, 3, 3)).astype(np.float32)
    f = lambda x: convolve(x, w, (2, 2), [(1, 1), (1, 1)], (1, 1), 4, target)  # noqa: E731
    assert_close(jax.vmap(f)(xs), np.stack([f(x) for x in xs]))

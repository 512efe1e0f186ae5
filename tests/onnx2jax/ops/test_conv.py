import hypothesis
import jax
import numpy as np
import pytest
from hypothesis import strategies as st
from jax import lax

from onnx2jax.lowering.channels_last import channels_last
from onnx2jax.lowering.conv import Form, Geometry, _suits_winograd, convolve
from tolerances import assert_close

LAYOUT = ("NHWC", "HWIO", "NHWC")


@st.composite
def convolutions(draw):
    """(image, kernel, geometry): any stride, spread, dilation, padding and groups."""
    groups, depth = draw(st.sampled_from([1, 1, 2, 3])), draw(st.sampled_from([1, 2, 3, 6]))
    outputs = groups * draw(st.integers(1, 3))
    pair = lambda low, high: (draw(st.integers(low, high)), draw(st.integers(low, high)))  # noqa: E731
    kernel, spread = pair(1, 4), draw(st.sampled_from([(1, 1), (2, 2), (1, 3)]))
    stride, dilation = (
        ((1, 1), (1, 1))
        if spread != (1, 1) and draw(st.booleans())
        else (
            pair(1, 3),
            pair(1, 2),
        )
    )
    padding = (pair(0, 3), pair(0, 3))
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = [draw(st.integers(e, e + 6)) for e in extent]
    at = Geometry(stride, padding, spread, dilation, groups)
    return (2, *size, groups * depth), (*kernel, depth, outputs), at


def arrays(case, seed):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=shape).astype(np.float32) for shape in case[:2])


def xla(x, w, at):
    return lax.conv_general_dilated(
        x,
        w,
        at.stride,
        at.padding,
        at.spread,
        at.dilation,
        LAYOUT,
        feature_group_count=at.groups,
    )


@hypothesis.given(convolutions(), st.integers(0, 2**32 - 1))
@hypothesis.settings(max_examples=25, deadline=None)
def test_our_forms_equal_xlas_own(case, seed):
    (x, w), at = arrays(case, seed), case[2]
    assert_close(convolve(x, w, at, Form(native=True)), xla(x, w, at), relative=1e-5)
    ours = convolve(x, w, at)
    assert ours.shape[1:3] == at.output(x.shape[1:3], w.shape[:2])
    assert_close(ours, xla(x, w, at), relative=1e-4)


@hypothesis.given(convolutions(), st.integers(0, 2**32 - 1))
@hypothesis.settings(max_examples=10, deadline=None)
def test_our_forms_have_xlas_gradients(case, seed):
    (x, w), at = arrays(case, seed), case[2]

    def gradients(form):
        y, pull = jax.vjp(form, x, w)
        return pull(y)

    ours, reference = (gradients(lambda x, w, f=f: f(x, w, at)) for f in (convolve, xla))
    for one, other in zip(ours, reference, strict=True):
        assert_close(one, other, relative=1e-4)


@pytest.mark.parametrize("padding", [((1, 1), (1, 1)), ((0, 2), (2, 1)), ((-1, 1), (0, 0))])
@pytest.mark.parametrize("size", [(7, 7), (8, 5), (14, 9)])
@pytest.mark.parametrize(("outputs", "tolerance"), [(2, 1e-5), (4, 3e-5)])
def test_winograd_equals_the_plain_form(padding, size, outputs, tolerance):
    case, at = ((3, *size, 32), (3, 3, 32, 48)), Geometry(padding=padding)
    x, w = arrays(case, 0)
    assert _suits_winograd(x, w, at)
    # It adds before it multiplies: a few times the rounding of the plain form.
    ours = convolve(x, w, at, Form(winograd=outputs))
    assert_close(ours, xla(x, w, at), relative=tolerance)


@pytest.mark.parametrize(("images", "products"), [(15, 4**2), (16, 6**2)])
def test_few_rows_take_smaller_blocks(images, products):
    """Of 7×7 outputs 4 blocks of 4×4 an image."""
    at, form = Geometry(padding=((1, 1), (1, 1))), Form(winograd=4, rows=64)
    x, w = arrays(((images, 7, 7, 32), (3, 3, 32, 32)), 0)
    program = str(jax.make_jaxpr(lambda x: convolve(x, w, at, form))(x))
    assert program.count("dot_general") == products
    assert_close(convolve(x, w, at, form), xla(x, w, at), relative=3e-5)


@pytest.mark.parametrize("stride", [(1, 1), (2, 2)])
@pytest.mark.parametrize("groups", [1, 4, 8])
def test_channels_last_keeps_a_network_of_channels_first(stride, groups):
    """Its values, its gradients, and what vmap and jit make of it."""
    rng = np.random.default_rng(0)
    xs = rng.normal(size=(3, 2, 8, 9, 7)).astype(np.float32)
    w = rng.normal(size=(8, 8 // groups, 3, 3)).astype(np.float32)
    b = rng.normal(size=(1, 8, 1, 1)).astype(np.float32)

    def network(x, w):
        y = lax.conv_general_dilated(x, w, stride, [(1, 1)] * 2, feature_group_count=groups)
        y = lax.reduce_window(
            lax.max(y + b, np.float32(0)), -np.inf, lax.max, (1, 1, 2, 2), (1, 1, 1, 2), "SAME"
        )
        return lax.concatenate([y, y[:, ::-1]], 1).mean((2, 3))

    rewritten = channels_last(network)
    for x in xs:
        assert_close(rewritten(x, w), network(x, w), relative=1e-4)
        for ours, plain in zip(
            *(
                jax.grad(lambda x, w, f=f: (f(x, w) ** 2).sum(), (0, 1))(x, w)
                for f in (rewritten, network)
            ),
            strict=True,
        ):
            assert_close(ours, plain, relative=1e-4)
    batched = jax.jit(jax.vmap(rewritten, (0, None)))(xs, w)
    assert_close(batched, np.stack([network(x, w) for x in xs]), relative=1e-4)


def test_depthwise_sums_are_few_equations_each_added_at_once():
    """What tracing takes follows their number, and what a walk's plan holds their order."""
    at = Geometry(padding=((1, 1), (1, 1)), groups=8)
    x, w = (
        jax.ShapeDtypeStruct((1, 6, 5, 8), "float32"),
        jax.ShapeDtypeStruct((3, 3, 1, 8), "float32"),
    )
    jaxpr = jax.make_jaxpr(lambda x, w: convolve(x, w, at))(x, w)
    names = [eqn.primitive.name for eqn in jaxpr.eqns]
    assert len(names) <= 4 * 9 + 2
    sums = "".join("*" if name == "mul" else "+" for name in names if name in ("mul", "add"))
    assert sums == "*" + "*+" * 8


@pytest.mark.parametrize("stride", [(1, 1), (2, 2)])
def test_a_kernel_larger_than_the_image_meets_nothing(stride):
    case, at = ((2, 2, 5, 4), (3, 3, 1, 4)), Geometry(stride, groups=4)
    x, w = arrays(case, 0)
    assert (
        convolve(x, w, at).shape == xla(x, w, at).shape == (2, 0, at.output((2, 5), (3, 3))[1], 4)
    )

"""Every operator under vmap, jvp and vjp, on ONNX's own cases.

The references are the loop, finite differences in float64, and the identity ⟨w, Jv⟩ = ⟨Jᵀw, v⟩.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import official
import onnx2jax
from tolerances import assert_close

SAMPLE = 200  # each so manieth case in CI; all of them with `pytest -m slow`
# What is random, or a conversion, whose rounding is all that a difference sees.
ROUNDING = {"Cast", "CastLike", "QuantizeLinear", "DequantizeLinear", "BitCast", "QLinearConv"}
QUANTIZED = {"QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul"}
# What once had no derivative, or another rounding: checked in every run.
ALWAYS = {
    "test_dynamicquantizelinear",
    "test_maxpool_2d_dilations",
    "test_maxpool_3d_dilations",
    "test_scatter_elements_with_reduction_mul",
    "test_scatternd_multiply",
}
# A loop whose end is traced has no reverse: JAX stores no state of it.
FORWARD_ALONE = {"Loop"}


def is_float(x):
    return isinstance(x, np.ndarray | jax.Array) and x.dtype in (np.float32, np.float64) and x.size


class Case:
    """A case's model as a function of its float inputs alone."""

    def __init__(self, case):
        self.model = onnx2jax.load(case.model)
        self.inputs = [
            tuple(x) if isinstance(x, list) else x for x in official.arrays(case.data_sets[0][0])
        ]
        self.operators = {node.op for node in self.model.graph.walk()}
        # The bits of another width are another matter.
        widths = (4,) if "BitCast" in self.operators else (4, 8)
        self.free = [
            i
            for i, (spec, x) in enumerate(zip(self.model.inputs, self.inputs, strict=True))
            if is_float(x) and x.itemsize in widths and spec.name not in self.model.static_inputs
        ]

    def floats(self, dtype):
        return [np.asarray(self.inputs[i], dtype) for i in self.free]

    def __call__(self, *floats):
        given = list(self.inputs)
        for i, x in zip(self.free, floats, strict=True):
            given[i] = x
        outputs = self.model(self.model.params, *given, key=jax.random.key(0))
        return jax.tree.leaves(outputs)


def traceable(cases):
    """Those of float inputs that run inside jit."""
    for case in cases:
        try:
            made = Case(case)
        except onnx2jax.UnsupportedModelError:
            continue
        if made.free:
            try:
                jax.eval_shape(made, *made.floats(np.float32))
            except onnx2jax.DataDependentError:
                continue
            yield case.name, made


def moved(x, rng, scale=1e-2):
    """Off ties and integers, where a derivative is one-sided."""
    away = rng.uniform(0.5, 1, x.shape) * rng.choice([-1, 1], x.shape)
    return x * (1 + scale * away) + 1e-3 * away


def check_batching(name, case):
    rng = np.random.default_rng(0)
    one = case.floats(np.float32)
    other = [moved(x, rng).astype(np.float32) for x in one]
    both = [jnp.stack(pair) for pair in zip(one, other, strict=True)]
    batched = jax.vmap(case)(*both)
    singles = [jax.jit(case)(*x) for x in (one, other)]
    for k, y in enumerate(batched):
        for i, single in enumerate(singles):
            ours, theirs = np.asarray(y[i]), np.asarray(single[k])
            if theirs.dtype.kind == "V":  # small floats, whose NaN NumPy does not know
                np.testing.assert_array_equal(*(v.astype(np.float32) for v in (ours, theirs)))
            elif (
                QUANTIZED & case.operators and theirs.dtype.kind in "iu"
            ):  # a half rounds either way
                assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1, name
            elif theirs.dtype.kind != "f":
                np.testing.assert_array_equal(ours, theirs, err_msg=name)
            elif np.isfinite(theirs).all():
                assert_close(ours, theirs, relative=1e-5 if theirs.itemsize > 2 else 1e-2)


def check_derivatives(name, case):
    rng = np.random.default_rng(0)
    xs = [moved(x, rng) for x in case.floats(np.float64)]
    vs = [rng.standard_normal(x.shape) for x in xs]

    def floating(*xs):
        return [y for y in case(*xs) if y.dtype == jnp.float64 and y.size]

    ys, tangents = jax.jvp(floating, xs, vs)
    if not ys or not all(bool(jnp.isfinite(y).all()) for y in ys):
        return
    step = 1e-6
    ahead, behind = (
        jax.jit(floating)(*(x + s * v for x, v in zip(xs, vs, strict=True))) for s in (step, -step)
    )
    for t, a, b in zip(tangents, ahead, behind, strict=True):
        assert_close(t, (a - b) / (2 * step), relative=1e-4)
    if FORWARD_ALONE & case.operators:
        return
    ws = [rng.standard_normal(y.shape) for y in ys]
    pulled = jax.vjp(floating, *xs)[1](ws)
    forwards = sum(np.vdot(w, t) for w, t in zip(ws, tangents, strict=True))
    backwards = sum(np.vdot(v, g) for v, g in zip(vs, pulled, strict=True))
    size = sum(
        np.abs(np.asarray(w) * np.asarray(t)).sum() for w, t in zip(ws, tangents, strict=True)
    )
    assert abs(forwards - backwards) <= 1e-8 * max(size, 1), name


@pytest.fixture(scope="module")
def suite():
    return official.node_cases()


def check_all(cases):
    checked, failures = 0, []
    with jax.enable_x64(True):
        for name, case in traceable(cases):
            checked += 1
            try:
                check_batching(name, case)
                if not ROUNDING & case.operators:
                    check_derivatives(name, case)
            except Exception as error:  # all of them are shown at once
                failures.append(f"{name}: {type(error).__name__}: {str(error)[:200]}")
    assert not failures, "\n".join(failures)
    return checked


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::UserWarning")
def test_a_sample_of_all_operators(suite):
    some = [case for i, case in enumerate(suite) if i % SAMPLE == 0 or case.name in ALWAYS]
    assert check_all(some) > 8


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::UserWarning")
def test_all_operators(suite):
    assert check_all(suite) > 600

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fggb_jax as fx
from tiny import curved, curved_params
from tolerances import assert_close

SIZE, N = (7, 6), 10
OPTIONS = [
    {"gradient": g, "embedding": e} for g in ("magnitude", "signed") for e in ("raw", "normalized")
]
ids = ["-".join(o.values()) for o in OPTIONS]


@pytest.fixture(scope="module")
def model():
    params = curved_params(np.random.default_rng(0), SIZE, 8, N)
    card = fx.Card("tiny", size=SIZE, layout="HWC", threshold=0.3)
    return fx.FaceModel(curved, params, card)


@pytest.fixture(scope="module")
def pair():
    return np.random.default_rng(1).random((2, *SIZE, 3), dtype=np.float32)


def by_hand(f, a, b, t, gradient, embedding):
    """The paper's formula in float64, written apart from the library: (cosine, S_A, S_B)."""
    with jax.enable_x64(True):
        a, b = np.float64(a), np.float64(b)
        g = f if embedding == "raw" else lambda x: f(x) / jnp.sqrt((f(x) ** 2).sum())
        z_a, z_b = np.asarray(g(a)), np.asarray(g(b))
        w = z_a * z_b / np.linalg.norm(z_a) / np.linalg.norm(z_b)
        maps = []
        for image in (a, b):
            s = np.zeros(SIZE)
            for k, row in enumerate(np.asarray(jax.jacrev(g)(image))):
                if gradient == "magnitude":
                    unit = np.abs(row).mean(2)
                    unit = unit / np.sqrt((unit**2).sum())
                else:
                    unit = (row / np.sqrt((row**2).sum())).mean(2)
                s += unit * (w[k] - t / N)
            maps.append(s)
    return w.sum(), *maps


@pytest.mark.parametrize("options", OPTIONS, ids=ids)
def test_the_papers_formula(model, pair, options):
    with jax.enable_x64(True):
        params = jax.tree.map(np.float64, model.params)
        f = lambda x: curved(params, x)  # noqa: E731
        cosine, s_a, s_b = by_hand(f, *pair, 0.3, **options)
    maps = fx.fggb(model, *pair, 0.3, **options)
    assert_close(maps.cosine, cosine)
    assert_close(maps.probe.signed, s_a)
    assert_close(maps.gallery.signed, s_b)


@pytest.mark.parametrize("options", OPTIONS, ids=ids)
def test_the_compiled_path_equals_the_functional_core(model, pair, options):
    core = fx.fggb(model, *pair, 0.3, **options)
    e = fx.explain(model, *pair, **options)
    for ours, theirs in ((e.probe, core.probe), (e.gallery, core.gallery)):
        assert_close(ours.p, theirs.p)
        assert_close(ours.q, theirs.q)


@pytest.mark.parametrize("options", OPTIONS, ids=ids)
def test_transforms(model, pair, options):
    """jit = eager, vmap = stack, chunked = unchunked; a model passes through as a pytree."""
    f = lambda model, a, b, t: fx.fggb(model, a, b, t, **options).probe.signed  # noqa: E731
    eager = f(model, *pair, 0.3)
    assert_close(jax.jit(f)(model, *pair, 0.3), eager)
    others = np.random.default_rng(2).random((3, *SIZE, 3), dtype=np.float32)
    thresholds = np.float32([0.1, 0.2, 0.3])
    batch = jax.vmap(f, (None, None, 0, 0))(model, pair[0], others, thresholds)
    each = [f(model, pair[0], b, t) for b, t in zip(others, thresholds, strict=True)]
    assert_close(batch, np.stack(each))
    chunked = fx.fggb(model, *pair, 0.3, chunk=3, **options).probe.signed
    assert_close(chunked, eager)


def test_batched_maps_know_their_thresholds(model, pair):
    thresholds = np.float32([0.1, 0.6])
    maps = jax.vmap(lambda t: fx.fggb(model, *pair, t))(thresholds)
    for i, t in enumerate(thresholds):
        assert_close(maps.probe.signed[i], maps.probe.p[i] - t * maps.probe.q[i])


@pytest.mark.parametrize("gradient", ["magnitude", "signed"])
def test_it_can_be_differentiated(model, pair, gradient):
    """The derivative of the maps' energy with respect to the image, against a quotient."""
    with jax.enable_x64(True):
        double = fx.FaceModel(curved, jax.tree.map(np.float64, model.params), model.card)
        a, b = np.float64(pair)
        energy = lambda a: (fx.fggb(double, a, b, 0.3, gradient=gradient).probe.signed ** 2).sum()  # noqa: E731
        direction = np.random.default_rng(3).normal(size=a.shape)
        slope = (np.asarray(jax.grad(energy)(a)) * direction).sum()
        step = 1e-6
        quotient = (energy(a + step * direction) - energy(a - step * direction)) / (2 * step)
        np.testing.assert_allclose(slope, quotient, rtol=1e-5)


@pytest.mark.parametrize("axis", [jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit])
def test_sharded_over_pairs_equals_one_device(model, pair, axis):
    assert len(jax.devices()) >= 2
    mesh = jax.make_mesh((2,), ("pairs",), axis_types=(axis,))
    sharding = jax.NamedSharding(mesh, jax.P("pairs"))
    pairs = np.random.default_rng(4).random((4, 2, *SIZE, 3), dtype=np.float32)
    f = jax.jit(jax.vmap(lambda p: fx.fggb(model, p[0], p[1], 0.3).probe.signed))
    with jax.set_mesh(mesh):
        sharded = f(jax.device_put(pairs, sharding))
    assert sharded.sharding.num_devices == 2
    assert_close(np.asarray(sharded), np.asarray(f(pairs)))


def test_the_weights_sum_to_the_cosine_and_q_averages(model, pair):
    maps = fx.fggb(model, *pair, 0.0)
    z = model.embed(pair)
    cosine = z[0] @ z[1] / jnp.linalg.norm(z[0]) / jnp.linalg.norm(z[1])
    assert_close(maps.cosine, cosine)
    # At t = 0 every map is P; at cos the pair-specific rest.
    assert_close(maps.probe.signed, maps.probe.p)


def test_swapping_the_images_swaps_the_maps(model, pair):
    there, back = fx.fggb(model, *pair, 0.3), fx.fggb(model, *pair[::-1], 0.3)
    assert_close(there.probe.signed, back.gallery.signed)


def test_maps_of_magnitude_are_sums_of_units(model, pair):
    """Σ over N of unit maps ÷ N: Q's norm is at most 1, and 1 only for equal maps."""
    q = np.asarray(fx.fggb(model, *pair, 0.3).probe.q)
    assert 0 < np.linalg.norm(q) <= 1 + 1e-6


def test_a_second_pair_traces_nothing(model, pair, monkeypatch):
    calls = []

    def counted(params, x):
        calls.append(None)
        return curved(params, x)

    counting = fx.FaceModel(counted, model.params, model.card)
    fx.explain(counting, *pair)
    first = len(calls)
    fx.explain(counting, *pair[::-1])
    assert len(calls) == first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gradient": "abs"}, "gradient is 'abs'; choose one of magnitude, signed"),
        ({"embedding": "unit"}, "embedding is 'unit'; choose one of raw, normalized"),
        ({"norms": "mean"}, "norms is 'mean'; choose one of exact, equal, calibrated, top"),
    ],
)
def test_options_that_do_not_exist(model, pair, options, message):
    with pytest.raises(fx.OptionError, match=message):
        fx.fggb(model, *pair, 0.3, **options)

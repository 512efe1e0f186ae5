import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fggb_jax as fx
import twin
from fggb_jax.attribution import comparison
from tolerances import assert_close


@pytest.fixture(scope="module")
def faces():
    return twin.pair()


def by_hand(faces, samples, noise, seed):
    """The gradients at noisy copies, by plain JAX: (samples, H, W, 3)."""
    model = twin.model()
    target = model(jnp.asarray(faces[1]))

    def cosine(x):
        z = model(x)
        return z @ target / jnp.linalg.norm(z) / jnp.linalg.norm(target)

    copies = [
        faces[0]
        + np.float32(noise)
        * np.random.default_rng([seed, i]).standard_normal(faces[0].shape, np.float32)
        for i in range(samples)
    ]
    return np.asarray(jax.jit(jax.vmap(jax.grad(cosine)))(np.stack(copies)))


def smoothgrad(faces, **options):
    return np.asarray(fx.explain(twin.model(), *faces, method="smoothgrad", **options).probe.q)


def test_the_mean_and_the_root_mean_square(faces):
    gradients = by_hand(faces, 5, 0.2, 3)
    options = {"samples": 5, "noise": 0.2, "seed": 3}
    mean, square = np.abs(gradients.mean(0)), np.sqrt((gradients**2).mean(0))
    assert_close(smoothgrad(faces, **options), mean.mean(-1))
    assert_close(smoothgrad(faces, average="square", **options), square.mean(-1))


@pytest.mark.parametrize("average", ["mean", "square"])
def test_without_noise_it_is_the_gradient(faces, average):
    plain = fx.explain(twin.model(), *faces, method="gradient").probe.q
    assert_close(smoothgrad(faces, samples=3, noise=0, average=average), plain)


def test_a_seed_decides_every_bit(faces):
    first, again = (smoothgrad(faces, samples=4, seed=1) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(smoothgrad(faces, samples=4, seed=2) - first).max() > 0.05 * first.max()


def test_batches_do_not_change_it(faces, monkeypatch):
    one_by_one = smoothgrad(faces, samples=7)
    monkeypatch.setattr(comparison, "on_cpu", lambda: False)
    monkeypatch.setattr(comparison, "plan_images", lambda *_: 3)
    assert_close(smoothgrad(faces, samples=7), one_by_one)


def test_more_copies_are_steadier(faces):
    def spread(samples):
        maps = [smoothgrad(faces, samples=samples, seed=seed) for seed in range(4)]
        return np.std(maps, 0).mean()

    assert spread(32) < 0.6 * spread(4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 0}, "samples is 0; give a whole number, 1 or more"),
        ({"samples": 2.5}, r"samples is 2\.5; give a whole number"),
        ({"noise": -0.1}, r"noise is -0\.1; give a number, 0 or more"),
        ({"seed": -1}, "seed is -1; give a whole number, 0 or more"),
        ({"average": "root"}, "average is 'root'; choose one of mean, square"),
    ],
)
def test_options_that_make_no_sense(faces, options, message):
    with pytest.raises(fx.OptionError, match=message):
        smoothgrad(faces, **options)

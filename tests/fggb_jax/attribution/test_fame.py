import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fggb_jax as fx
import twin
from tolerances import assert_close


@pytest.fixture(scope="module")
def faces():
    return twin.pair()


def fame(faces, **options):
    return fx.explain(twin.model(), *faces, method="fame", **{"sigma": 1.0, **options}).probe


def by_hand(faces, sign, steps, stop, step=1 / 255):
    """(the change of grey, the cosine after each step), by plain JAX in float64."""
    with jax.enable_x64(True):
        model = fx.FaceModel(twin.network, jax.tree.map(jnp.float64, twin.PARAMS), twin.CARD)
        x, partner = np.float64(faces)
        target = np.asarray(model(jnp.asarray(partner)))

        @jax.jit
        @jax.value_and_grad
        def cosine(x):
            z = model(x)
            return (z * target).sum() / jnp.sqrt((z**2).sum()) / jnp.sqrt((target**2).sum())

        start, cosines = x, []
        for _ in range(steps):
            value, gradient = map(np.asarray, cosine(x))
            cosines.append(float(value))
            if (1 - value if sign > 0 else value) < stop:
                break
            x = x + sign * step * gradient / np.abs(gradient).max()
        grey = np.array([0.299, 0.587, 0.114])
    return np.abs(x @ grey - start @ grey), cosines


@pytest.mark.parametrize(("part", "sign"), [("similarity", -1), ("dissimilarity", 1)])
def test_the_steps(faces, part, sign):
    change, cosines = by_hand(faces, sign, 6, 0.0)
    # Down, the cosine falls; up, it rises.
    assert (sign * np.diff(cosines) > 0).all()
    ours = fame(faces, part=part, steps=6, stop=0.0, sigma=0.0)
    assert_close(ours.signed, -sign * change, 1e-3)


def test_both_is_one_less_the_other(faces):
    parts = [fame(faces, part=part, steps=8).signed for part in ("similarity", "dissimilarity")]
    both = fame(faces, steps=8).signed
    assert_close(both, parts[0] + parts[1])
    assert parts[0].min() >= 0 >= parts[1].max()
    assert np.abs(both).max() > 0.01 * parts[0].max() > 0


def test_it_stops_where_it_has_arrived(faces):
    change, cosines = by_hand(faces, -1, 500, 0.05)
    assert 2 < len(cosines) < 500
    assert cosines[-1] < 0.05 < cosines[-2]
    long, longer = (
        fame(faces, part="similarity", steps=steps, stop=0.05, sigma=0.0) for steps in (500, 900)
    )
    np.testing.assert_array_equal(long.signed, longer.signed)
    assert_close(long.signed, change, 1e-3)


@pytest.mark.parametrize(("part", "ways"), [("both", 2), ("similarity", 1)])
def test_fewer_passes_lead_as_far(faces, part, ways):
    fewer = fame(faces, part=part, steps=12, step=0.01, forwards=4 * 2 * ways + 2 * ways - 1)
    longer = fame(faces, part=part, steps=4, step=0.03)
    np.testing.assert_array_equal(fewer.signed, longer.signed)
    plenty = fame(faces, part=part, steps=12, step=0.01, forwards=1000)
    np.testing.assert_array_equal(plenty.signed, fame(faces, part=part, steps=12, step=0.01).signed)


def test_a_pair_that_is_no_match_has_none_to_lose(faces):
    # The stop is above the cosine: as of an impostor pair.
    assert not fame(faces, part="similarity", stop=1.0).signed.any()


def test_equal_images_have_no_match_to_gain(faces):
    same = np.stack([faces[0], faces[0]])
    assert not fame(same, part="dissimilarity").signed.any()


def test_a_blur_spreads_it(faces):
    def total_variation(sigma):
        values = fame(faces, part="similarity", steps=4, sigma=sigma).signed
        return np.abs(np.diff(values, axis=0)).sum()

    assert total_variation(2.0) < 0.5 * total_variation(0.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"part": "probe"}, "part is 'probe'; choose one of both, similarity, dissimilarity"),
        ({"steps": 0}, "steps is 0; give a whole number, 1 or more"),
        ({"step": -1}, "step is -1; give a number, 0 or more"),
        ({"stop": float("nan")}, "stop is nan; give a number, 0 or more"),
        ({"sigma": "5"}, "sigma is '5'; give a number, 0 or more"),
        ({"forwards": 3}, "forwards is 3; give a whole number, 4 or more"),
    ],
)
def test_options_that_make_no_sense(faces, options, message):
    with pytest.raises(fx.OptionError, match=message):
        fame(faces, **options)

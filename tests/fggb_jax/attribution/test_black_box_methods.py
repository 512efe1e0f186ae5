"""What all methods have in common that ask for cosines only."""

import numpy as np
import pytest

import fggb_jax as fx
from fggb_jax.attribution import registry
from hidden_parts import SIZE, compared, curved_black_box, curved_model, face_map, faces
from tolerances import assert_close

CASES = [
    ("occlusion", {"size": 3}),
    ("rise", {}),
    ("srise", {}),
    ("corrrise", {}),
    ("corrrise", {"recipe": "grid"}),
    ("xface", {}),
    ("xface", {"pairing": "same"}),
    ("xface", {"pairing": "all"}),
    ("partner_swap", {}),
    ("minplus", {"stride": 3}),
    ("minplus", {"stride": 3, "mode": "removal"}),
    ("minplus", {"stride": 3, "mode": "iterative_aggregation"}),
    ("lime", {}),
    ("frequency", {}),
]
IDS = [f"{name}-{'-'.join(map(str, options.values()))}" for name, options in CASES]
RANDOM = [case for case in CASES if "seed" in registry.find(case[0]).options]

every = pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)


@pytest.fixture(scope="module")
def model():
    return curved_model()


@pytest.fixture(scope="module")
def pair():
    return faces()


@every
def test_a_map_of_the_image_that_is_no_constant(model, pair, name, options):
    s = face_map(compared(model, pair), name, **options)
    assert s.shape == SIZE
    assert np.isfinite(s).all()
    assert np.ptp(s) > 0


@every
@pytest.mark.parametrize("forwards", [20, 21, 37, 150])
def test_forward_passes_are_not_exceeded(pair, name, options, forwards):
    c = compared(curved_black_box(), pair)
    s = face_map(c, name, forwards=forwards, **options)
    free = compared(curved_black_box(), pair)
    face_map(free, name, **options)
    assert 0 < c.forwards <= min(forwards, free.forwards)
    # It is used, too: as far as a grid can.
    assert c.forwards >= min(forwards, free.forwards) / 4
    assert np.isfinite(s).all()


@every
def test_the_count_is_what_the_model_was_asked(pair, name, options):
    asked = []
    twin = curved_black_box()
    model = fx.BlackBox(lambda x: asked.append(len(x)) or twin.function(x), twin.card)
    c = compared(model, pair)
    assert c.cosine
    before = sum(asked)
    face_map(c, name, forwards=30, **options)
    padded = -(-c.forwards // 16) * 16 + 16  # an empty face of MinPlus is a batch of its own
    assert c.forwards <= sum(asked) - before <= padded


@every
@pytest.mark.parametrize("forwards", [0, -1, 2.5, True, "many"])
def test_budgets_that_make_no_sense(model, pair, name, options, forwards):
    with pytest.raises(fx.OptionError, match=rf"forwards is {forwards!r}; give a whole number"):
        face_map(compared(model, pair), name, forwards=forwards, **options)


@every
def test_a_black_box_has_the_models_map(model, pair, name, options):
    ours = face_map(compared(curved_black_box(), pair), name, **options)
    assert_close(ours, face_map(compared(model, pair), name, **options), 2e-4)


@every
def test_a_small_memory_changes_nothing(model, pair, name, options):
    whole = face_map(compared(model, pair), name, forwards=60, **options)
    small = face_map(compared(model, pair, memory=20_000), name, forwards=60, **options)
    assert_close(small, whole, 1e-4)


@every
def test_it_explains_pairs(pair, name, options):
    """Both images, each against the other, in the one call that users have."""
    e = fx.explain(curved_black_box(), *pair, name, **options)
    for face, order in ((e.probe, pair), (e.gallery, pair[::-1])):
        s = face_map(compared(curved_black_box(), order), name, **options)
        if not registry.find(name).signed:
            s = s * (e.cosine - 0.3)
        assert_close(face.signed, np.float32(s), 1e-4)


@pytest.mark.parametrize(("name", "options"), RANDOM)
def test_seeds(model, pair, name, options):
    first, again, other = (
        face_map(compared(model, pair), name, seed=seed, **options) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    with pytest.raises(fx.OptionError, match="seed is -1; give a whole number, 0 or more"):
        face_map(compared(model, pair), name, seed=-1, **options)

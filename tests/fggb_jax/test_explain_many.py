import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fggb_jax as fx
import tiny
from fggb_jax.attribution import by_image, registry
from tolerances import assert_close

PAIRS = tiny.PAIRS
OPTIONS = [
    {"gradient": g, "embedding": e} for g in ("magnitude", "signed") for e in ("raw", "normalized")
]


@pytest.fixture(scope="module")
def model():
    return tiny.model()


@pytest.fixture(scope="module")
def faces():
    return tiny.faces()


@pytest.fixture
def walks(monkeypatch):
    """The images that are walked, in order."""
    seen = []
    walk = by_image.Driven.walk

    def watched(self, images, rows):
        seen.extend(np.asarray(images))
        return walk(self, images, rows)

    monkeypatch.setattr(by_image.Driven, "walk", watched)
    return seen


@pytest.mark.parametrize("options", OPTIONS, ids=["-".join(o.values()) for o in OPTIONS])
def test_each_pair_has_the_bits_that_explain_gives(model, faces, options):
    found = list(fx.explain_pairs(model, faces, PAIRS, **options))
    assert len(found) == len(PAIRS)
    for (a, b), e in zip(PAIRS, found, strict=True):
        alone = fx.explain(model, faces[a], faces[b], **options)
        np.testing.assert_array_equal(tiny.maps(e), tiny.maps(alone))
        assert e.to_dict() == alone.to_dict()
        np.testing.assert_array_equal(e.probe_image, faces[a])
        np.testing.assert_array_equal(e.gallery_image, faces[b])


def test_a_pair_does_not_depend_on_the_others_nor_on_their_order(model, faces):
    forward = list(fx.explain_pairs(model, faces, PAIRS))
    backward = list(fx.explain_pairs(model, faces, PAIRS[::-1]))
    for e, f in zip(forward, reversed(backward), strict=True):
        np.testing.assert_array_equal(tiny.maps(e), tiny.maps(f))


def test_each_image_is_walked_once(model, faces, walks):
    list(fx.explain_pairs(model, faces, PAIRS))
    assert len(walks) == len({i for pair in PAIRS for i in pair})


def test_little_memory_costs_walks_and_changes_nothing(model, faces, walks, monkeypatch):
    ample = [tiny.maps(e) for e in fx.explain_pairs(model, faces, PAIRS)]
    walks.clear()
    room = 2 * 5 * np.prod(tiny.SIZE) * 4  # five maps, each counted twice
    made = registry.find("fggb").by_image

    def cramped(*args, **keywords):
        walker = made(*args, **keywords)
        walker.kept = int(room)
        return walker

    monkeypatch.setitem(
        registry._METHODS, "fggb", registry.replace(registry.find("fggb"), by_image=cramped)
    )
    scarce = [tiny.maps(e) for e in fx.explain_pairs(model, faces, PAIRS)]
    np.testing.assert_array_equal(scarce, ample)
    assert len({i for pair in PAIRS for i in pair}) < len(walks) < 2 * len(PAIRS)


def test_pairs_are_streamed(model, faces, walks):
    stream = fx.explain_pairs(model, faces, [(0, 1), (2, 3), (4, 5)])
    assert not walks
    next(stream)
    assert len(walks) == 2


def test_images_are_read_when_their_turn_comes(model, faces):
    """What has a shape and an index will do; floats as well as pixels; lists too."""
    expected = [tiny.maps(e) for e in fx.explain_pairs(model, faces, PAIRS[:2])]

    class Lazy:
        def __init__(self):
            self.shape, self.asked = faces.shape, set()

        def __len__(self):
            return len(faces)

        def __getitem__(self, index):
            self.asked.add(index)
            return faces[index]

    lazy = Lazy()
    found = [tiny.maps(e) for e in fx.explain_pairs(model, lazy, PAIRS[:2])]
    np.testing.assert_array_equal(found, expected)
    assert lazy.asked == {0, 1, 2}
    for images in (list(faces), faces / np.float32(255), jnp.asarray(faces)):
        found = [tiny.maps(e) for e in fx.explain_pairs(model, images, PAIRS[:2])]
        assert_close(found, expected)


def test_progress_counts_walks(model, faces):
    seen = []
    list(fx.explain_pairs(model, faces, PAIRS, progress=lambda *counts: seen.append(counts)))
    assert seen == [(i, 6) for i in range(1, 7)]


def test_settings_do_not_leak_to_whoever_takes_the_pairs(model, faces):
    stream = fx.explain_pairs(model, faces, PAIRS, precision="high")
    for _ in zip(range(3), stream, strict=False):
        assert jax.config.jax_default_matmul_precision is None
        assert jax.config.jax_default_device is None


def test_no_pairs_no_explanations(model, faces):
    assert list(fx.explain_pairs(model, faces, [])) == []


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([(0, 1, 2)], r"pairs of shape \(1, 3\) and dtype int64"),
        ([0, 1], r"pairs of shape \(2,\)"),
        ([(0.0, 1.0)], "dtype float64 were given; give .* integers"),
        ([(0, 1), (2, 6)], r"pair 1 is \(2, 6\); there are images 0 … 5"),
        ([(0, 1), (-1, 2)], r"pair 1 is \(-1, 2\)"),
    ],
)
def test_wrong_pairs_are_refused_at_once(model, faces, pairs, message):
    with pytest.raises(fx.ImageError, match=message):
        fx.explain_pairs(model, faces, pairs)


def test_wrong_images_are_refused_by_number(model, faces):
    with pytest.raises(fx.ImageError, match=r"images of shape \(8, 8, 3\).*\(K, H, W, 3\)"):
        fx.explain_pairs(model, faces[0], [(0, 0)])
    with pytest.raises(fx.ImageError, match=r"image 2: .*shape \(7, 8, 3\)"):
        fx.explain_pairs(model, faces[:, :7], [(2, 3)])
    dark = faces.astype(np.float32) / 255
    dark[3] = -1
    with pytest.raises(fx.ImageError, match=r"image 3: image values lie in \[-1, -1\]"):
        next(fx.explain_pairs(model, dark, [(0, 1), (2, 3)]))


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"method": "lrp"}, "no method 'lrp'"),
        ({"colour": 1}, "no option colour"),
        ({"threshold": 2}, "threshold is 2"),
        ({"precision": "double"}, "precision is 'double'"),
    ],
)
def test_wrong_options_are_refused_at_once(model, faces, keywords, message):
    with pytest.raises(fx.OptionError, match=message):
        fx.explain_pairs(model, faces, PAIRS, **keywords)
    with pytest.raises(fx.OptionError, match=message):
        fx.explain_one_to_many(model, faces[0], model.embed(faces), **keywords)


def test_the_least_budget_that_is_not_refused_is_enough(model, faces):
    """What is refused says what is needed; one that is not refused never fails later."""
    wanted = r"of the memory budget of 1,000 bytes 2,048 are for maps.*one channel.*needs [\d,]+"
    with pytest.raises(fx.OptionError, match=wanted):
        next(fx.explain_pairs(model, faces, PAIRS, memory=1000))
    expected = [tiny.maps(e) for e in fx.explain_pairs(model, faces, PAIRS)]
    low, high = 1000, 1 << 24
    while high - low > 64:
        middle = (low + high) // 2
        try:
            found = [tiny.maps(e) for e in fx.explain_pairs(model, faces, PAIRS, memory=middle)]
        except fx.OptionError:
            low = middle
        else:
            high = middle
            assert_close(found, expected)


def test_maps_cannot_be_written_to_for_pairs_share_them(model, faces):
    first, second = fx.explain_pairs(model, faces, [(0, 1), (0, 2)])
    assert first.probe.q is second.probe.q
    for face in (first.probe.p, first.probe.q):
        with pytest.raises(ValueError, match="read-only"):
            face[0] = 0


def test_a_dead_embedding_names_the_images(faces):
    tiny_model = tiny.model()
    params = {**tiny_model.params, "c": 0 * tiny_model.params["c"], "d": 0 * tiny_model.params["d"]}
    model = fx.FaceModel(tiny.network, params, tiny_model.card)
    message = "the cosine is nan: the embedding of 'tiny' is zero or not finite for images 0 and 2"
    with pytest.raises(fx.ModelError, match=message):
        list(fx.explain_pairs(model, faces, [(0, 2)]))
    with pytest.raises(fx.ModelError, match="for the probe or gallery embedding 0"):
        fx.explain_one_to_many(model, faces[0], tiny_model.embed(faces))


@pytest.fixture
def brightness(monkeypatch):
    """A method that knows nothing of other pairs."""
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))

    @registry.method("brightness", "Brightness")
    def explain(
        model, probe, gallery, threshold, *, memory=None, progress=None, products=None, power=1
    ):
        maps = [
            fx.FaceMap(x.mean(-1) ** power, jnp.zeros(tiny.SIZE), jnp.float32(threshold))
            for x in (probe, gallery)
        ]
        return fx.PairMaps(model(probe) @ model(gallery), *maps)


def test_other_methods_go_pair_by_pair(model, faces, brightness):
    seen = []
    stream = fx.explain_pairs(
        model, faces, PAIRS, "brightness", power=2, progress=lambda *counts: seen.append(counts)
    )
    for (a, b), e in zip(PAIRS, stream, strict=True):
        assert_close(e.probe.p, (faces[a] / np.float32(255)).mean(-1) ** 2)
        assert_close(e.gallery.p, (faces[b] / np.float32(255)).mean(-1) ** 2)
        assert e.provenance["method"] == "brightness"
    assert seen == [(i, len(PAIRS)) for i in range(1, len(PAIRS) + 1)]
    mesh = jax.make_mesh((2,), ("any",))
    with pytest.raises(fx.OptionError, match="'brightness' with these options goes pair by pair"):
        fx.explain_pairs(model, faces, PAIRS, "brightness", device=mesh)
    with pytest.raises(fx.OptionError, match=r"'brightness' .* needs the gallery's images"):
        fx.explain_one_to_many(model, faces[0], model.embed(faces), "brightness")


@pytest.mark.parametrize("options", OPTIONS, ids=["-".join(o.values()) for o in OPTIONS])
def test_a_probes_maps_for_embeddings(model, faces, options):
    found = fx.explain_one_to_many(model, faces[0], model.embed(faces), **options)
    assert len(found) == len(faces)
    for i, face in enumerate(faces):
        alone = fx.explain(model, faces[0], face, **options)
        assert_close(found.p[i], alone.probe.p, relative=1e-6)
        assert_close(found.q, alone.probe.q, relative=1e-6)
        assert_close(found.cosine[i], np.float32(alone.cosine), relative=1e-6)
        assert_close(found[i].signed, alone.probe.signed)
        assert found.accepted[i] == (alone.decision == "accept")
        assert found.provenance == alone.provenance
    np.testing.assert_array_equal(found.image, faces[0])
    np.testing.assert_array_equal(found.signed[2], found[2].signed)
    moved = found.at(-0.2)
    np.testing.assert_array_equal(moved.signed, found.p + np.float32(0.2) * found.q)
    assert moved.provenance["threshold_source"] == "given"
    with pytest.raises(fx.OptionError, match="threshold is 2"):
        found.at(2)


def test_a_probe_against_images_is_pairs(model, faces, walks):
    stream = fx.explain_one_to_many(model, faces[0], faces[1:])
    for face, e in zip(faces[1:], stream, strict=True):
        np.testing.assert_array_equal(tiny.maps(e), tiny.maps(fx.explain(model, faces[0], face)))
    assert len(walks) == len(faces)


@pytest.mark.parametrize(
    ("galleries", "message"),
    [
        (np.zeros((3, 4, 5), np.float32), r"galleries of shape \(3, 4, 5\)"),
        (np.zeros((3, 4), np.float32), r"embeddings of shape \(3, 4\).*has \(M, 10\)"),
        (np.zeros((3, tiny.N), int), r"dtype int64 were given"),
        (np.zeros((0, tiny.N), np.float32), "no gallery embedding was given"),
    ],
)
def test_wrong_galleries_are_named(model, faces, galleries, message):
    with pytest.raises(fx.ImageError, match=message):
        fx.explain_one_to_many(model, faces[0], galleries)

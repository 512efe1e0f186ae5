from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import pytest

import fggb_jax as fx
from fggb_jax.data.pair_list import PairList
from fggb_jax.evaluation.scoring import BATCH, score

CARD = fx.Card("tiny", size=(4, 4), layout="HWC")


@dataclass(frozen=True)
class Picture:
    """An image in memory that counts how often it is read."""

    name: str
    pixels: np.ndarray
    reads: list

    def read(self, note=None):
        self.reads.append(self.name)
        if self.pixels is None:
            raise fx.ImageError(f"{self.name} is damaged")
        return self.pixels


@pytest.fixture
def model():
    w = jnp.asarray(np.random.default_rng(0).normal(size=(4, 4, 3, 5)), jnp.float32)
    return fx.FaceModel(lambda p, x: jnp.tensordot(x, p, 3), w, CARD)


def pictures(count, damaged=()):
    rng, reads = np.random.default_rng(1), []
    return reads, [
        Picture(
            f"{i}.png", None if i in damaged else rng.integers(0, 256, (4, 4, 3), np.uint8), reads
        )
        for i in range(count)
    ]


def test_cosines_equal_those_of_single_embeddings(model):
    """More images than a batch, each read once."""
    count = BATCH + 5
    reads, images = pictures(count)
    pairs = np.random.default_rng(2).integers(0, count, (50, 2))
    seen = []
    found = score(
        model,
        PairList(images, pairs),
        lambda photo, name: photo,
        progress=lambda done, total: seen.append((done, total)),
    )
    for (a, b), cosine in zip(pairs, found.cosines, strict=True):
        z = [np.asarray(model(images[i].pixels / np.float32(255))) for i in (a, b)]
        expected = z[0] @ z[1] / np.linalg.norm(z[0]) / np.linalg.norm(z[1])
        assert abs(cosine - expected) < 1e-5
    assert sorted(reads) == sorted(image.name for image in images)
    assert seen == [(BATCH, count), (count, count)]
    assert found.errors == {}


@pytest.mark.parametrize(
    ("count", "sizes"), [(1, [1]), (3, [4]), (BATCH - 1, [BATCH]), (BATCH + 1, [BATCH, BATCH])]
)
def test_a_run_embeds_in_batches_of_one_size(model, monkeypatch, count, sizes):
    """Few images wait for no large batch, and many need no second program."""
    seen, embed = [], fx.FaceModel.embed
    monkeypatch.setattr(
        fx.FaceModel, "embed", lambda self, x: seen.append(len(x)) or embed(self, x)
    )
    found = score(
        model, PairList(pictures(count)[1], np.array([[0, 0]])), lambda photo, name: photo
    )
    assert seen == sizes
    assert np.isfinite(found.embeddings).all()


def test_a_retry_embeds_in_the_batches_of_the_whole_list(model, monkeypatch):
    """Another size would be another program, whose last bits differ."""
    _, images = pictures(6)
    pairs = PairList(images, np.array([[0, 1]]))
    known = score(model, pairs, lambda photo, name: photo).embeddings
    known[4] = np.nan
    seen, embed = [], fx.FaceModel.embed
    monkeypatch.setattr(
        fx.FaceModel, "embed", lambda self, x: seen.append(len(x)) or embed(self, x)
    )
    score(model, pairs, lambda photo, name: photo, known=known)
    assert seen == [8]


def test_a_bad_image_costs_its_own_pairs_only(model):
    _, images = pictures(4, damaged={1})

    def to_face(photo, name):
        if name == "3.png":
            raise fx.ImageError("no face found in 3.png")
        return photo

    pairs = np.array([[0, 2], [0, 1], [2, 3], [2, 0]])
    found = score(model, PairList(images, pairs), to_face)
    assert np.isnan(found.cosines).tolist() == [False, True, True, False]
    assert found.errors == {"1.png": "1.png is damaged", "3.png": "no face found in 3.png"}


def test_all_bad_images_leave_no_score(model):
    _, images = pictures(2, damaged={0, 1})
    found = score(model, PairList(images, np.array([[0, 1]])), lambda photo, name: photo)
    assert np.isnan(found.cosines).all()
    assert len(found.errors) == 2


def test_one_bad_image_among_ten_thousand(model):
    """Promise 9: the run ends, the error is a row, and only it is done again."""
    count = 10_000
    reads, images = pictures(count)
    whole = images[4321]
    images[4321] = Picture("4321.png", None, reads)
    pairs = PairList(images, np.stack([np.arange(count), np.roll(np.arange(count), 1)], axis=1))
    first = score(model, pairs, lambda photo, name: photo)
    assert np.flatnonzero(np.isnan(first.cosines)).tolist() == [4321, 4322]
    assert first.errors == {"4321.png": "4321.png is damaged"}
    reads.clear()
    images[4321] = whole
    again = score(model, pairs, lambda photo, name: photo, known=first.embeddings)
    assert reads == ["4321.png"]
    kept = np.delete(np.arange(count), [4321, 4322])
    np.testing.assert_array_equal(again.cosines[kept], first.cosines[kept])
    np.testing.assert_array_equal(
        again.embeddings, score(model, pairs, lambda photo, name: photo).embeddings
    )

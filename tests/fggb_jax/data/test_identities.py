from itertools import combinations

import pytest

import fggb_jax as fx
from fggb_jax.data.identities import read_identities


@pytest.fixture
def folder(tmp_path):
    """Persons with 3, 1, 2 and 4 images, and what is to be ignored."""
    root = tmp_path / "faces"
    for person, count in (("a", 3), ("b", 1), ("c", 2), ("d", 4), (".hidden", 2)):
        (root / person).mkdir(parents=True)
        for i in range(count):
            (root / person / f"{i}.JPG").touch()
    (root / "a" / "notes.txt").touch()
    (root / "readme.jpg").touch()
    return root


def content(pairs):
    names = [image.name for image in pairs.images]
    return [(names[a], names[b]) for a, b in pairs.pairs]


def test_all_pairs_where_all_are_asked_for(folder):
    """10 genuine of 45; as many impostors, all of them different."""
    pairs = read_identities(folder, sample=1000)
    found = content(pairs)
    images = [f"{p}/{i}.JPG" for p, n in (("a", 3), ("b", 1), ("c", 2), ("d", 4)) for i in range(n)]
    genuine = {pair for pair in combinations(images, 2) if pair[0][0] == pair[1][0]}
    assert pairs.same.tolist() == [True] * 10 + [False] * 10
    assert set(found[:10]) == genuine
    assert len(set(found[10:])) == 10
    assert set(found[10:]) <= set(combinations(images, 2)) - genuine
    assert "10 of 10 genuine and 10 of 35 impostor pairs, drawn with seed 0" in pairs.source


def test_every_pair_can_be_drawn_and_equally_often(folder):
    counts = {}
    for seed in range(400):
        for pair in content(read_identities(folder, sample=2, seed=seed)):
            counts[pair] = counts.get(pair, 0) + 1
    assert len(counts) == 45
    genuine = [n for (a, b), n in counts.items() if a[0] == b[0]]
    assert min(genuine) >= 15
    assert max(genuine) <= 75  # 40 expected


def test_the_seed_decides(folder):
    once, again, other = (read_identities(folder, 8, seed) for seed in (1, 1, 2))
    assert content(once) == content(again) != content(other)
    assert len(once) == 8
    assert set(once.pairs.ravel()) == set(range(len(once.images)))


def test_folders_without_pairs_are_refused(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(fx.FggbError, match="among its 0 images"):
        read_identities(tmp_path)
    for name in ("1.png", "2.png"):
        (tmp_path / "a" / name).touch()
    with pytest.raises(fx.FggbError, match="no pair of two persons among its 2 images"):
        read_identities(tmp_path)
    with pytest.raises(fx.OptionError, match="at least 2"):
        read_identities(tmp_path, sample=1)

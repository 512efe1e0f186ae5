import numpy as np
import pytest

import fggb_jax as fx
import tiny
from fggb_jax.data.pair_list import PairList
from fggb_jax.evaluation.study import Study, _picked, read_study

PAIRS = np.array([[0, 1], [2, 3], [4, 5]])
SAME = np.array([True, False, True])


def study(**changes):
    names = [f"pair {i}" for i in range(len(PAIRS))]
    given = {"threshold": 0.3, "names": names, **changes}
    return Study(tiny.model(), tiny.faces(6), PAIRS, SAME, **given)


def test_a_case_is_the_pair_with_strangers_by_the_models_own_measure():
    made = study(threshold=0.5)
    case = made.case(1)
    np.testing.assert_array_equal(case.probe, tiny.faces(6)[2] / np.float32(255))
    assert (case.same, case.others.shape) == (False, (4, *tiny.SIZE, 3))
    others = [int(np.abs(made.faces / 255.0 - o).sum((1, 2, 3)).argmin()) for o in case.others]
    likeness = (made.embeddings @ made.embeddings[[2, 3]].T).max(1)
    assert not {2, 3} & set(others)
    below = [i for i in range(6) if likeness[i] < 0.5]
    assert set(others[: len(below)]) == set(below[:4])
    np.testing.assert_allclose(case.mean_face, tiny.faces(6).mean(0) / 255, atol=1e-6)


@pytest.mark.parametrize("threshold", [-1.0, 0.3, 1.0])
def test_a_pairs_own_faces_are_never_strangers(threshold):
    faces = tiny.faces(3)
    made = Study(tiny.model(), faces, np.array([[0, 2]]), SAME[:1], threshold, ["a pair"])
    np.testing.assert_array_equal(made.case(0).others, faces[1:2] / np.float32(255))
    two = Study(tiny.model(), faces[:2], np.array([[0, 1]]), SAME[:1], threshold, ["a pair"])
    with pytest.raises(fx.OptionError, match="at least 3 faces in all"):
        two.case(0)


def test_no_two_pairs_of_no_two_seeds_draw_alike():
    cases = [study(seed=seed).case(pair) for seed in (0, 1) for pair in (0, 1)]
    drawn = [case.rng("deletion_insertion").integers(1 << 62) for case in cases]
    assert len(set(drawn)) == 4
    assert study().case(1).rng("a").random() == study().case(1).rng("a").random()


class Image:
    def __init__(self, index):
        self.name, self.index = f"{index}.png", index

    def read(self, note=None):
        return tiny.faces(6)[self.index]


LISTED = PairList([Image(i) for i in range(6)], PAIRS, SAME, source="six faces")


def to_face(photo, name):
    if name == "3.png":
        raise fx.ImageError("no face")
    return photo


def test_a_study_leaves_out_pairs_without_a_face():
    made, errors, source = read_study(tiny.model(), LISTED, to_face, 0.25)
    assert errors == {"3.png": "no face"}
    assert (made.threshold, source) == (0.25, "given")
    assert list(made.names) == ["0.png, 1.png", "4.png, 5.png"]
    np.testing.assert_array_equal(made.faces[made.pairs[1]], tiny.faces(6)[[4, 5]])
    assert made.same.tolist() == [True, True]


def test_thresholds_come_from_the_card_else_from_the_pairs():
    model = tiny.model()
    assert read_study(model, LISTED, lambda x, _: x, "auto")[0].threshold == 0.3
    bare = fx.FaceModel(tiny.network, model.params, fx.Card("bare", tiny.SIZE, layout="HWC"))
    made, _, source = read_study(bare, LISTED, lambda x, _: x, "auto")
    assert "the pairs of this very evaluation" in source
    assert made.cosines.min() < made.threshold < made.cosines.max()


def test_nothing_left_is_an_error():
    def none(photo, name):
        raise fx.ImageError("no face")

    with pytest.raises(fx.ImageError, match="no pair is left"):
        read_study(tiny.model(), LISTED, none, 0.3)


@pytest.mark.parametrize(
    ("limit", "genuine", "impostor"), [(None, 30, 10), (4, 2, 2), (30, 20, 10), (99, 30, 10)]
)
def test_a_limit_takes_as_many_of_either_kind(limit, genuine, impostor):
    same = np.array([True] * 30 + [False] * 10)
    picked = _picked(same, limit)
    assert picked == sorted(set(picked))
    assert (same[picked].sum(), (~same[picked]).sum()) == (genuine, impostor)

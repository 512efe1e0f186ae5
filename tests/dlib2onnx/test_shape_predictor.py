"""Landmark predictors: a small one written by hand, the published ones, and broken ones."""

import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlib2onnx import DlibFormatError, read_shape_predictor
from dlib2onnx.reader import Reader

LEVELS, TREES, SPLITS, POINTS, PIXELS = 2, 3, 3, 2, 5


@pytest.fixture(scope="module")
def small(dlib_format):
    """The bytes of a predictor, and its arrays."""
    f, rng = dlib_format, np.random.default_rng(0)

    def numbers(array):
        # In quarters, so that no mantissa has more than a float's bytes.
        pairs = [f.integers(int(value * 4), -2) for value in np.ravel(array)]
        return b"".join(pairs)

    def quarters(*size):
        return (rng.integers(-400, 400, size) / 4).astype(np.float32)

    initial = quarters(POINTS, 2)
    raw = f.integers(1, -2 * POINTS, -1) + numbers(initial) + f.integer(LEVELS)
    levels = []
    for _ in range(LEVELS):
        raw += f.integer(TREES)
        splits = rng.integers(0, PIXELS, (2, TREES, SPLITS))
        threshold, leaves = quarters(TREES, SPLITS), quarters(TREES, SPLITS + 1, POINTS, 2)
        for tree in range(TREES):
            raw += f.integer(SPLITS)
            for i in range(SPLITS):
                raw += f.integers(*splits[:, tree, i].tolist()) + numbers(threshold[tree, i])
            raw += f.integer(SPLITS + 1)
            for leaf in leaves[tree]:
                raw += f.integers(-2 * POINTS, -1) + numbers(leaf)
        levels.append([*splits, threshold, leaves])
    for size, least in (((PIXELS,), 0), ((PIXELS, 2), None)):
        raw += f.integer(LEVELS)
        for level in levels:
            values = rng.integers(0, POINTS, size) if least == 0 else quarters(*size)
            raw += f.integer(PIXELS)
            raw += f.integers(*values.tolist()) if least == 0 else numbers(values)
            level.append(values)
    return raw, initial, levels


def arrays(predictor):
    fields = ("first", "second", "threshold", "leaves", "anchor", "delta")
    return predictor.initial_shape, [[getattr(x, f) for f in fields] for x in predictor.levels]


def test_reads_every_number(small):
    raw, initial, levels = small
    read_initial, read_levels = arrays(read_shape_predictor(raw))
    np.testing.assert_array_equal(read_initial, initial)
    assert len(read_levels) == LEVELS
    for level, expected in zip(read_levels, levels, strict=True):
        for got, wanted in zip(level, expected, strict=True):
            np.testing.assert_array_equal(got, wanted)
            assert got.dtype == (np.float32 if wanted.dtype == np.float32 else np.int32)


def test_path_string_and_bytes_give_the_same(small, tmp_path):
    path = tmp_path / "small.dat"
    path.write_bytes(small[0])
    for source in (path, str(path)):
        np.testing.assert_array_equal(read_shape_predictor(source).initial_shape, small[1])


def test_truncation_and_trailing_garbage_are_errors(small):
    raw = small[0]
    for size in range(len(raw)):
        with pytest.raises(DlibFormatError) as error:
            read_shape_predictor(raw[:size])
        assert 0 <= error.value.offset <= size
    with pytest.raises(DlibFormatError, match=r"ends before the file does .* value 2\)"):
        read_shape_predictor(raw + b"\x01\x00")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (1, 2, "version should be 1"),
        (3, 5, "initial shape should be one column"),
        (5, 2, "initial shape should be one column"),
        (23, 0, "forests: levels must be 1 to 1000"),
        (25, 0, "level 0: trees must be 1 to 100000"),
        (27, 2, r"level 0: splits of a complete tree are 2\^depth − 1"),
        (27, 7, r"level 0: (thresholds|splits of every tree|leaves)|needs"),
    ],
)
def test_every_size_is_checked(small, place, value, message):
    raw = bytearray(flat(small[0]))
    assert raw[place] != value
    raw[place] = value
    with pytest.raises(DlibFormatError, match=message):
        read_shape_predictor(bytes(raw))


def flat(raw):
    """The small predictor with initial numbers of one byte each, so that places are known."""
    reader = Reader(raw)
    for _ in range(3):
        reader.integer("")
    start = reader.offset
    for _ in range(4 * POINTS):
        reader.integer("")
    return raw[:start] + b"\x01\x01\x81\x02" * 2 * POINTS + raw[reader.offset :]


def test_indices_are_checked(dlib_format, small):
    raw, _, levels = small
    for place, wrong, message in (
        (levels[0][0][0, 0], 100, "level 0: first pixel should be 0 to 4"),
        (levels[0][1][0, 0], 100, "level 0: second pixel should be 0 to 4"),
    ):
        pair = dlib_format.integers(*(int(x[0, 0]) for x in levels[0][:2]))
        at = raw.index(dlib_format.integers(SPLITS) + pair) + 2
        at += 0 if "first" in message else 2
        assert raw[at + 1] == place
        with pytest.raises(DlibFormatError, match=message):
            read_shape_predictor(raw[: at + 1] + bytes([wrong]) + raw[at + 2 :])
    anchors = dlib_format.integers(PIXELS, *levels[1][4].tolist())
    at = raw.rindex(anchors) + 3
    with pytest.raises(DlibFormatError, match="anchors of level 1 should be 0 to 1"):
        read_shape_predictor(raw[:at] + b"\x02" + raw[at + 1 :])


def test_huge_counts_allocate_nothing(dlib_format):
    raw = dlib_format.integers(1, -20_000, -1)
    tracemalloc.start()
    with pytest.raises(DlibFormatError, match=r"initial shape needs .* the file has 0 left"):
        read_shape_predictor(raw)
    small = flat_header(dlib_format) + dlib_format.integers(1, 100_000, 2**15 - 1)
    with pytest.raises(DlibFormatError, match=r"level 0 needs"):
        read_shape_predictor(small)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 256 * 2**10


def flat_header(f):
    return f.integers(1, -4, -1) + f.integers(1, -2) * 4


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_flips_insertions_and_cuts(small, data):
    broken = bytearray(small[0])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(broken) - 1))
        broken[place : place + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    try:
        predictor = read_shape_predictor(bytes(broken))
    except DlibFormatError:
        return
    # A flip within a number is no crime; what is read must be usable.
    assert np.isfinite(predictor.initial_shape).all()
    for level in predictor.levels:
        assert np.isfinite(level.leaves).all()
        assert np.isfinite(level.threshold).all()
        assert max(level.first.max(), level.second.max()) < len(level.anchor) == len(level.delta)
        assert level.anchor.max() < len(predictor.initial_shape)


@pytest.mark.parametrize(
    "name", ["dlib_face_recognition_resnet_model_v1", "mmod_human_face_detector"]
)
def test_dlibs_other_files(models_folder, name):
    with pytest.raises(DlibFormatError):
        read_shape_predictor(models_folder / f"{name}.dat")


def test_published_5(models_folder):
    path = models_folder / "shape_predictor_5_face_landmarks.dat"
    start = time.process_time()
    predictor = read_shape_predictor(path)
    # 0.15 s by itself; the rest is for machines that do other things, too.
    assert time.process_time() - start < 1.5
    assert len(predictor.levels) == 15
    assert predictor.initial_shape.shape == (5, 2)
    for level in predictor.levels:
        assert level.first.shape == level.second.shape == level.threshold.shape == (500, 15)
        assert level.leaves.shape == (500, 16, 5, 2)
        assert level.delta.shape == (*level.anchor.shape, 2)
    # The file's first numbers: 03 6e b8 c6 81 18, and 01 1b 01 35 83 9a ae 96 81 12.
    assert predictor.initial_shape[0, 0] == 0xC6B86E * 2.0**-24
    level = predictor.levels[0]
    assert (level.first[0, 3], level.second[0, 3]) == (0x1B, 0x35)
    assert level.threshold[0, 3] == -0x96AE9A * 2.0**-18


def test_published_68(models_folder):
    path = models_folder / "shape_predictor_68_face_landmarks.dat"
    start = time.process_time()
    predictor = read_shape_predictor(path)
    assert time.process_time() - start < 8  # 1.3 s by itself
    assert predictor.initial_shape.shape == (68, 2)
    assert {level.leaves.shape for level in predictor.levels} == {(500, 16, 68, 2)}
    assert {level.anchor.shape for level in predictor.levels} == {(500,)}

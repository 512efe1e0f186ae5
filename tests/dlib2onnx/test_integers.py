"""Many integers at once, against `Reader`, which reads them one by one."""

import doctest
import math
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dlib2onnx.integers as module
from dlib2onnx import DlibFormatError
from dlib2onnx.integers import IntegerReader, boundaries, decoded_floats
from dlib2onnx.reader import Reader

FOUR_BYTES = st.integers(-(2**31) + 1, 2**31 - 1)


@pytest.fixture
def small_steps(monkeypatch):
    """Chunks of 64 bytes in blocks of 16: what else takes megabytes happens within hundreds."""
    monkeypatch.setattr(module, "_CHUNK", 64)
    monkeypatch.setattr(module, "_BLOCK", 16)
    monkeypatch.setattr(module, "_LEAD", 8)


@settings(max_examples=200, deadline=None)
@given(
    values=st.lists(FOUR_BYTES | st.integers(-99, 99), min_size=1, max_size=200),
    piece=st.integers(1, 60),
    chunk=st.integers(1, 200),
    block=st.integers(1, 50),
    lead=st.integers(0, 50),
)
def test_any_integers_in_any_pieces(dlib_format, values, piece, chunk, block, lead):
    raw = dlib_format.integers(*values)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CHUNK", chunk)
        patch.setattr(module, "_BLOCK", block)
        patch.setattr(module, "_LEAD", lead)
        reader, slow = IntegerReader(raw), Reader(raw)
        for i in range(0, len(values), piece):
            expected = values[i : i + piece]
            assert reader.take(len(expected), "x").tolist() == expected
            assert [slow.integer("x") for _ in expected] == expected
            assert reader.offset == slow.offset
        reader.finish()


@pytest.mark.parametrize("longest", [1, 4])
def test_several_chunks(dlib_format, longest):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 256**longest // 2, 1_200_000).tolist()
    raw = dlib_format.integers(*values)
    assert len(raw) > 1.1 * module._CHUNK
    reader = IntegerReader(raw)
    assert reader.take(len(values), "x").tolist() == values
    reader.finish()


def test_chains_that_never_fall_in_step(dlib_format, small_steps, monkeypatch):
    """Two bytes an integer, and every block begins at an odd place of them."""
    monkeypatch.setattr(module, "_BLOCK", 15)
    called = []
    slow = module._one_by_one
    monkeypatch.setattr(module, "_one_by_one", lambda *a: called.append(1) or slow(*a))
    values = [1] * 300
    assert IntegerReader(dlib_format.integers(*values)).take(300, "x").tolist() == values
    assert called


def test_boundaries(dlib_format):
    raw = np.frombuffer(dlib_format.integers(1, 300, -70_000, 5) + bytes(9), np.uint8)
    starts, end = boundaries(raw, 8)
    assert (starts.tolist(), end) == ([0, 2, 5], 9)


def test_peek_count_and_expect(dlib_format):
    reader = IntegerReader(dlib_format.integers(3, 3, -1, 0))
    assert reader.peek("x") == reader.count("x", 3) == 3
    with pytest.raises(DlibFormatError, match=r"trees must be 1 to 2 \(at byte 2, value 3\)"):
        reader.count("trees", 2)
    assert reader.expect("size", 1, -1) == -1
    with pytest.raises(DlibFormatError, match=r"size should be 1 or -1 \(at byte 6, value 0\)"):
        reader.expect("size", 1, -1)


def test_the_end(dlib_format):
    reader = IntegerReader(dlib_format.integers(1, 2))
    reader.take(1, "x")
    with pytest.raises(DlibFormatError, match=r"ends before the file does \(at byte 2, value 2\)"):
        reader.finish()
    reader.take(1, "x")
    with pytest.raises(DlibFormatError, match="x needs 2 bytes at least and the file has 0 left"):
        reader.peek("x")


@pytest.mark.parametrize("control", [0x00, 0x05, 0x08, 0x11, 0x80, 0x85, 0xFF])
def test_an_integer_of_an_impossible_size(control):
    raw = b"\x01\x07" + bytes([control]) + b"\1" * 20
    with pytest.raises(DlibFormatError, match=r"control byte must be 1 to 4.* \(at byte 2"):
        IntegerReader(raw).take(3, "x")


def test_an_integer_too_large_for_its_type():
    with pytest.raises(DlibFormatError, match=r"larger than any .*\(at byte 2, value 2147483648\)"):
        IntegerReader(b"\x01\x07\x04\x00\x00\x00\x80").take(2, "x")


def test_a_truncated_integer():
    with pytest.raises(DlibFormatError, match=r"x needs 4 bytes and the file has 3 left") as error:
        IntegerReader(b"\x01\x07\x03\x01\x02").take(2, "x")
    assert error.value.offset == 2


def test_a_huge_count_allocates_nothing():
    tracemalloc.start()
    with pytest.raises(DlibFormatError, match=r"trees needs .* bytes at least and the file has 2"):
        IntegerReader(b"\x01\x01").take(2**60, "trees")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**16


@pytest.mark.parametrize("raw", [b"\x01\x01" * 2**21, b"\x00" * 2**22, b"\x0f" * 2**22])
def test_hostile_megabytes_are_quick(raw):
    start = time.process_time()
    try:
        IntegerReader(raw).take(2**21, "x")
    except DlibFormatError as error:
        assert raw[0] != 1, error  # noqa: PT017
    assert time.process_time() - start < 5


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_floats(value):
    mantissa, exponent = math.frexp(value)
    pair = np.array([int(mantissa * 2**24), exponent - 24], np.int32)
    assert decoded_floats(pair, "x", 0) == np.float32(value)


@pytest.mark.parametrize("exponent", [32000, 32001, 32002, 128, 2**30, -(2**30)])
def test_floats_that_are_not_finite(exponent):
    with pytest.raises(DlibFormatError, match=r"x: a number that is not finite \(at byte 7"):
        decoded_floats(np.array([[1, 0], [1, exponent]], np.int32), "x", 7)


def test_floats_of_a_reader(dlib_format):
    raw = b"".join(map(dlib_format.real, [0.0, 1.5, -2.0]))
    with pytest.raises(DlibFormatError, match="control byte"):
        IntegerReader(raw).floats(3, "x")  # a double's mantissa has 7 bytes
    reader = IntegerReader(bytes.fromhex("01 00 01 00  01 03 81 01  81 01 01 01"))
    assert reader.floats(3, "x").tolist() == [0.0, 1.5, -2.0]


def test_examples():
    assert doctest.testmod(module).failed == 0

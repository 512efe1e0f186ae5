"""The bytes are worked out by hand from dlib's headers, or taken from the published file."""

import contextlib
import doctest
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dlib2onnx.reader
from dlib2onnx import DlibFormatError
from dlib2onnx.reader import Reader


def hexed(text):
    return Reader(bytes.fromhex(text))


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("01 00", 0),
        ("01 07", 7),
        ("01 ff", 255),
        ("02 80 12", 4736),
        ("81 18", -24),
        ("03 62 90 f5", 16093282),
        ("08 ff ff ff ff ff ff ff ff", 2**64 - 1),
        ("88 00 00 00 00 00 00 00 80", -(2**63)),
        ("02 05 00", 5),
    ],
)
def test_integer(raw, value):
    reader = hexed(raw)
    assert reader.integer("x") == value
    reader.finish()


@pytest.mark.parametrize("control", ["00", "09", "0f", "11", "80", "89", "ff"])
def test_integer_of_an_impossible_size(control):
    with pytest.raises(DlibFormatError, match=r"x: an integer's control byte .* \(at byte 0"):
        hexed(control + "00" * 16).integer("x")


def test_truncated_integer_names_the_field_and_its_place():
    reader = hexed("01 05 04 01 02")
    reader.integer("first")
    with pytest.raises(DlibFormatError, match=r"second needs 4 bytes and the file has 2 left") as e:
        reader.integer("second")
    assert (e.value.offset, e.value.value) == (3, 4)


def test_count_refuses_a_negative_number():
    with pytest.raises(DlibFormatError, match=r"rows is negative \(at byte 0, value -24\)"):
        hexed("81 18").count("rows")


def test_expect():
    hexed("01 02").expect("version", 2)
    with pytest.raises(DlibFormatError, match=r"version should be 3 \(at byte 0, value 2\)"):
        hexed("01 02").expect("version", 3)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("01 00 01 00", 0.0),
        ("01 01 01 00", 1.0),
        ("01 03 81 01", 1.5),
        ("81 03 01 02", -12.0),
        # 0.04f, the margin in the published file: 0xa3d70a · 2^-28.
        ("03 0a d7 a3 81 1c", float(np.float32(0.04))),
        # The mean of red: 0xf59062 · 2^-17.
        ("03 62 90 f5 81 11", float(np.float32(122.782))),
        ("01 00 02 00 7d", math.inf),
        ("01 00 02 01 7d", -math.inf),
    ],
)
def test_real(raw, value):
    reader = hexed(raw)
    assert reader.real("x") == value
    reader.finish()


def test_real_nan():
    assert math.isnan(hexed("01 00 02 02 7d").real("x"))


@pytest.mark.parametrize("exponent", ["02 ff 7c", "02 03 7d", "08 ff ff ff ff ff ff ff ff"])
def test_real_that_overflows(exponent):
    with pytest.raises(DlibFormatError, match=r"x: mantissa · 2\^exponent is no float64"):
        hexed("01 01" + exponent).real("x")


def test_boolean():
    reader = Reader(b"10")
    assert reader.boolean("flag") is True
    assert reader.boolean("flag") is False
    with pytest.raises(DlibFormatError, match=r"the character 0 or 1 \(at byte 0, value b'\\x01'"):
        Reader(b"\x01").boolean("flag")


def test_string():
    assert Reader(b"\x01\x05con_4").string("x") == "con_4"
    assert Reader(b"\x01\x00").string("x") == ""
    assert Reader(b"\x01\x01\xff").string("x") == "ÿ"


def test_string_longer_than_the_file_or_than_any_name():
    with pytest.raises(DlibFormatError, match="needs 6 bytes and the file has 5 left"):
        Reader(b"\x01\x06con_4").string("x")
    with pytest.raises(DlibFormatError, match="longer than 256 characters"):
        Reader(b"\x02\x01\x01" + b"a" * 300).string("x")


def test_version():
    Reader(b"\x01\x05con_4").version("con_4")
    with pytest.raises(DlibFormatError, match=r"version 'con_4' .* value 'con_5'.*another version"):
        Reader(b"\x01\x05con_5").version("con_4")


def test_version_of_several():
    assert Reader(b"\x01\x05con_4").version("con_3", "con_4") == "con_4"
    with pytest.raises(DlibFormatError, match=r"version 'con_3' or 'con_4' .* value 'con_5'"):
        Reader(b"\x01\x05con_5").version("con_3", "con_4")


def test_tensor():
    reader = hexed(
        "01 02  01 02 01 01 01 01 01 02  00 00 80 3f 00 00 00 c0 00 00 00 3f cd cc cc 3d"
    )
    values = reader.tensor("x")
    reader.finish()
    assert values.dtype == np.float32
    assert values.shape == (2, 1, 1, 2)
    np.testing.assert_array_equal(values.ravel(), np.array([1, -2, 0.5, 0.1], np.float32))


def test_empty_tensor():
    assert hexed("01 02 01 00 01 00 01 00 01 00").tensor("x").size == 0


def test_tensor_is_a_view_of_the_file():
    raw = bytes.fromhex("01 02 04 00 00 10 00 01 01 01 01 01 01") + bytes(4 * 2**20)
    tracemalloc.start()
    values = Reader(raw).tensor("x")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert values.size == 2**20
    assert peak < 64 * 2**10


@pytest.mark.parametrize(
    "dimensions",
    [
        "06 00 00 00 00 00 01 01 01 01 01 01 01",  # 2^40
        "08 ff ff ff ff ff ff ff ff" * 4,
        "03 00 00 10 03 00 00 10 01 01 01 01",  # 2^20 · 2^20
    ],
)
def test_huge_tensor_allocates_nothing(dimensions):
    raw = bytes.fromhex("01 02" + dimensions) + bytes(64)
    tracemalloc.start()
    with pytest.raises(DlibFormatError, match="and the file has 64 left"):
        Reader(raw).tensor("x")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 2**10


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("01 01 01 00 01 00 01 00 01 00", "x: tensor version should be 2"),
        ("01 02 81 01 01 01 01 01 01 01", "x: n is negative"),
        ("01 02 01 02 01 00 01 00 01 00", "x has no elements, and yet a size"),
        ("01 02 01 01 01 01 01 01 01 01", "x needs 4 bytes and the file has 0 left"),
    ],
)
def test_broken_tensor(raw, message):
    with pytest.raises(DlibFormatError, match=message):
        hexed(raw).tensor("x")


def test_tensor_of_another_size():
    with pytest.raises(DlibFormatError, match=r"size \(2, 1, 1, 1\) \(at byte 2, value \(1, 1, 1,"):
        hexed("01 02 01 01 01 01 01 01 01 01 00 00 80 3f").tensor("x", (2, 1, 1, 1))


@pytest.mark.parametrize("number", ["00 00 c0 7f", "00 00 80 7f", "00 00 80 ff"])
def test_weights_must_be_finite(number):
    raw = "01 02 01 02 01 01 01 01 01 01 00 00 80 3f" + number
    with pytest.raises(DlibFormatError, match="x holds NaN or infinity"):
        hexed(raw).weights("x", (2, 1, 1, 1))


def test_alias():
    hexed("01 01 01 20 01 03 01 07 01 07").alias("x", (32, 3, 7, 7))
    with pytest.raises(DlibFormatError, match=r"x should have the size \(32, 3, 5, 5\)"):
        hexed("01 01 01 20 01 03 01 07 01 07").alias("x", (32, 3, 5, 5))
    with pytest.raises(DlibFormatError, match="x: alias version should be 1"):
        hexed("01 02 01 20 01 03 01 07 01 07").alias("x", (32, 3, 7, 7))


def test_finish():
    with pytest.raises(DlibFormatError, match=r"ends before the file does \(at byte 0, value 3\)"):
        Reader(b"abc").finish()


@given(st.binary(max_size=64))
def test_any_bytes_give_a_value_or_the_one_error(raw):
    for method in ("integer", "count", "real", "boolean", "string", "tensor"):
        reader = Reader(raw)
        with contextlib.suppress(DlibFormatError):
            getattr(reader, method)("x")
        assert reader.offset <= len(raw)


def test_examples():
    assert doctest.testmod(dlib2onnx.reader) == (0, 1)

"""Real sets are read as pickle would; crafted ones run nothing, which a canary file shows."""

import io
import os
import pickle
import struct
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import fggb_jax as fx
from fggb_jax.data import bin_set
from fggb_jax.data.bin_set import read_bin


def encoded(value, kind="png"):
    buffer = io.BytesIO()
    Image.new("RGB", (6, 5), (value, 2 * value, 0)).save(buffer, kind)
    return buffer.getvalue()


def save(tmp_path, data, name="set.bin"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


IMAGES = [encoded(i) for i in (1, 2, 1, 3, 4, 2)]


@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("outer", [tuple, list])
def test_what_python_3_writes(tmp_path, protocol, outer):
    data = pickle.dumps(outer((IMAGES, [True, False, True])), protocol)
    pairs = read_bin(save(tmp_path, data))
    assert [image.name for image in pairs.images] == [f"set.bin[{i}]" for i in (0, 1, 3, 4)]
    assert pairs.pairs.tolist() == [[0, 1], [0, 2], [3, 1]]  # equal images are one
    assert pairs.same.tolist() == [True, False, True]
    assert [image.read()[0, 0].tolist() for image in pairs.images] == [
        [v, 2 * v, 0] for v in (1, 2, 3, 4)
    ]
    assert pairs.images[0].read().shape == (5, 6, 3)


@pytest.mark.parametrize("protocol", [1, 2])
def test_what_python_2_writes(tmp_path, protocol):
    """Its str is BINSTRING, its bool of protocol 1 is the text of a number."""
    strings = [encoded(1), b"\x89short"]
    body = b"]q\x01("
    for i, data in enumerate(strings):
        size = b"U" + bytes([len(data)]) if len(data) < 256 else b"T" + struct.pack("<i", len(data))
        body += size + data + b"q" + bytes([i + 2])
    labels = b"]q\x09(" + (b"I01\n" if protocol == 1 else b"\x88") + b"e"
    data = b"(" + body + b"e" + labels + b"tq\x0a."
    data = data if protocol == 1 else b"\x80\x02" + body + b"e" + labels + b"\x86q\x0a."
    assert pickle.loads(data, encoding="bytes") == (strings, [True])
    pairs = read_bin(save(tmp_path, data))
    assert pairs.same.tolist() == [True]
    assert pairs.images[0].read()[0, 0].tolist() == [1, 2, 0]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.binary(max_size=600), st.binary(max_size=4), st.booleans()), min_size=1),
    st.sampled_from([1, 2, 3, 4, 5]),
)
def test_the_bytes_are_those_that_pickle_finds(tmp_path_factory, rows, protocol):
    slots = [data for row in rows for data in row[:2]]
    same = [row[2] for row in rows]
    path = save(tmp_path_factory.mktemp("bin"), pickle.dumps((slots, same), protocol))
    pairs = read_bin(path)
    assert pairs.same.tolist() == same

    def content(image):
        with path.open("rb") as file:
            file.seek(image.start)
            return bin_set._plain(file.read(image.size), image.text)

    assert [content(pairs.images[i]) for i in pairs.pairs.ravel()] == slots


def test_folds_are_insightfaces_where_each_has_both_kinds(tmp_path):
    images = [encoded(1)] * 50
    alternating = [i % 2 == 0 for i in range(25)]
    folds = read_bin(save(tmp_path, pickle.dumps((images, alternating)))).folds
    assert np.bincount(folds).tolist() == [3] * 5 + [2] * 5
    assert (np.diff(folds) >= 0).all()
    ordered = read_bin(save(tmp_path, pickle.dumps((images, sorted(alternating)))))
    assert ordered.folds is None


def test_images_stay_in_the_file(tmp_path):
    """Names and places only: of 20 MB of images less than a tenth is ever held."""
    blobs = [os.urandom(20_000) for _ in range(1000)]
    path = save(tmp_path, pickle.dumps((blobs, [True] * 500), 4))
    tracemalloc.start()
    try:
        pairs = read_bin(path)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    assert len(pairs.images) == 1000


@pytest.mark.parametrize(
    "data", [b"not an image", encoded(1)[:50], b""], ids=["text", "cut", "empty"]
)
def test_a_damaged_image_costs_itself_only(tmp_path, data):
    pairs = read_bin(save(tmp_path, pickle.dumps(([encoded(1), data], [True]))))
    assert pairs.images[0].read().shape == (5, 6, 3)
    with pytest.raises(fx.ImageError, match=r"set\.bin\[1\] (is not an image|cannot be decoded)"):
        pairs.images[1].read()


def test_a_bomb_in_a_set_is_not_decoded(tmp_path, monkeypatch):
    buffer = io.BytesIO()
    Image.new("1", (11000, 11000)).save(buffer, "png")
    pairs = read_bin(save(tmp_path, pickle.dumps(([buffer.getvalue()] * 2, [True]))))
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("it was decoded"))
    with pytest.raises(fx.ImageError, match="11000×11000 pixels"):
        pairs.images[0].read()


class Calls:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def crafted(canary):
    """Pickles that leave a file behind, or would change something, if they were loaded."""
    touch = f"touch {canary}".encode()
    write = f"import pathlib; pathlib.Path({str(canary)!r}).touch()"
    text = b"\x8c" + bytes([len(touch)]) + touch
    rules = Calls(exec, write)
    codecs = b"\x8c\x07_codecs\x8c\x06encode\x93"
    good = b"]\x8e" + struct.pack("<Q", 1) + b"x"
    return {
        "os.system": pickle.dumps(Calls(os.system, touch.decode())),
        "within a list": pickle.dumps(([Calls(os.system, touch.decode())] * 2, [True])),
        "as a label": pickle.dumps(([b"a", b"b"], [rules])),
        "protocol 0": b"cos\nsystem\n(S'" + touch + b"'\ntR.",
        "exec": pickle.dumps(rules),
        "getattr": pickle.dumps(Calls(getattr, Calls(__import__, "os"), "system")),
        "inst": b"(S'" + touch + b"'\nios\nsystem\n.",
        "obj": b"(cos\nsystem\n" + b"U" + bytes([len(touch)]) + touch + b"o.",
        "newobj": b"cos\nsystem\n" + text + b"\x85\x81.",
        "newobj_ex": b"\x80\x04cos\nsystem\n" + text + b"\x85}\x92.",
        "dotted name": b"\x80\x04\x8c\x07_codecs\x8c\x0fencode.__self__\x93.",
        "name with a space": b"c_codecs encode\nsystem\n.",
        "stack_global": b"\x80\x04\x8c\x02os\x8c\x06system\x93" + text + b"\x85R.",
        "name that is no text": b"\x80\x04]]\x93.",
        "build on encode": b"\x80\x04" + codecs + b"}\x8c\x08__code__Nsb.",
        "setitem": b"\x80\x04" + codecs + b"\x8c\x01a\x8c\x01bs.",
        "append to encode": b"\x80\x04" + codecs + b"\x8c\x01aa.",
        "another codec": b"\x80\x04" + codecs + b"\x8c\x01a\x8c\x05rot13\x86R.",
        "codec of a list": b"\x80\x04" + codecs + b"]\x8c\x06latin1\x86R.",
        "huge bytes()": b"c__builtin__\nbytes\nJ\xff\xff\xff\x7f\x85R.",
        "extension": b"\x80\x02\x82\x01.",
        "persistent": b"Pcanary\n.",
        "binary persistent": good + b"Q.",
        "numpy object array": pickle.dumps((np.array([rules, rules]), [True])),
        "numpy": pickle.dumps(([np.zeros(3, np.uint8)] * 2, [True])),
        "dict": pickle.dumps({"bins": [b"a", b"b"], "same": [True]}),
        "mark misused": b"((\x86.",
        "empty stack": b"0.",
        "get before put": b"h\x05.",
        "appends without a list": b"(\x88e.",
        "list in itself": b"\x80\x04]\x94h\x00a.",
        "text for an image": pickle.dumps((["a", "b"], [True])),
        "number as label": pickle.dumps(([b"a", b"b"], [2])),
        "fraction as label": pickle.dumps(([b"a", b"b"], [1.0])),
        "too few images": pickle.dumps(([b"a"], [True])),
        "no pairs": pickle.dumps(([], [])),
        "three lists": pickle.dumps(([b"a", b"b"], [True], [])),
        "text for bytes": b"\x80\x02]("
        + (b"c_codecs\nencode\nX\x03\x00\x00\x00\xe2\x82\xacX\x06\x00\x00\x00latin1\x86R") * 2
        + b"e](\x88e\x86.",
    }


@pytest.mark.parametrize("name", crafted("/canary"))
def test_crafted_pickles_run_nothing(tmp_path, name):
    canary = tmp_path / "canary"
    path = save(tmp_path, crafted(canary)[name])
    with pytest.raises(fx.FggbError, match=r"set\.bin is no (pair set|pickle)"):
        read_bin(path)
    assert not canary.exists()


def test_the_canary_would_sing(tmp_path):
    """So that the test above shows something: a plain pickle.load leaves the file."""
    canary = tmp_path / "canary"
    for name in ("os.system", "within a list", "exec", "inst", "stack_global"):
        pickle.loads(crafted(canary)[name])
        assert canary.exists(), name
        canary.unlink()


def bombs():
    growing = b"\x80\x04](\x88e\x94" + b"".join(
        b"](" + (b"h" + bytes([i])) * 10 + b"e\x94" for i in range(40)
    )
    return {
        "lists of lists": growing + b".",
        "a promise of 8 EiB": b"\x80\x04\x8e" + struct.pack("<Q", (1 << 63) - 1) + b"x",
        "a promise of 2 GiB": b"\x80\x03B" + struct.pack("<I", (1 << 31) - 1) + b"x",
        "a frame of 8 EiB": b"\x80\x04\x95" + struct.pack("<Q", (1 << 63) - 1) + b"N.",
        "a memory of 4 G entries": b"\x80\x02]r\xff\xff\xff\xff0.",
        "a number of 10 million digits": b"I" + b"9" * 10_000_000 + b"\n.",
        "a number of 10 million bytes": b"\x8b" + struct.pack("<i", 10_000_000) + b"\x7f" * 10**7,
    }


def test_bombs_cost_little(tmp_path):
    """All in one process of their own, whose greatest memory is looked at."""
    code = """
import resource, sys, time
import fggb_jax as fx
from fggb_jax.data.bin_set import read_bin
used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000
before = used()
for path in sys.argv[1:]:
    start = time.process_time()
    try: read_bin(path)
    except fx.FggbError: print(used() - before, time.process_time() - start)
"""
    paths = [str(save(tmp_path, data, f"{i}.bin")) for i, data in enumerate(bombs().values())]
    done = subprocess.run(
        [sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True
    )
    for name, line in zip(bombs(), done.stdout.splitlines(), strict=True):
        megabytes, seconds = line.split()
        assert int(megabytes) < 100, name
        assert float(seconds) < 2, name


def test_a_large_image_used_often_is_looked_at_once(tmp_path):
    image = b"B" + struct.pack("<I", 1 << 22) + bytes(1 << 22) + b"\x94"
    count = 100_000
    data = b"\x80\x04](" + image + b"h\x00" * (2 * count - 1) + b"e](" + b"\x88" * count + b"e\x86."
    start = time.process_time()
    pairs = read_bin(save(tmp_path, data))
    assert (len(pairs), len(pairs.images)) == (count, 1)
    assert time.process_time() - start < 5


def test_limits(tmp_path, monkeypatch):
    monkeypatch.setattr(bin_set, "MAX_INSTRUCTIONS", 50)
    with pytest.raises(fx.FggbError, match="more than 50 instructions"):
        read_bin(save(tmp_path, pickle.dumps(([b"a", b"b"] * 40, [True] * 40))))
    monkeypatch.setattr(bin_set, "MAX_BYTES", 1000)
    with pytest.raises(fx.FggbError, match="one of its entries has 2,000 bytes"):
        read_bin(save(tmp_path, pickle.dumps(([b"a" * 2000] * 2, [True]))))


def test_every_truncation_is_an_error(tmp_path):
    data = pickle.dumps(([b"ab", b"cde", b"f", b"g"], [True, False]), 2)
    for size in range(len(data)):
        with pytest.raises(fx.FggbError, match=r"set\.bin is"):
            read_bin(save(tmp_path, data[:size]))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_mutants_are_read_or_refused(tmp_path_factory, data):
    """Never another error, whatever bytes are changed."""
    raw = bytearray(pickle.dumps((IMAGES[:2], [True]), data.draw(st.sampled_from([1, 2, 4]))))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path = save(tmp_path_factory.mktemp("mutant"), bytes(raw))
    try:
        pairs = read_bin(path)
        for image in pairs.images:
            image.read()
    except fx.FggbError:
        pass

"""What the reader does with files that are right, broken, hostile or something else."""

import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlib2onnx import DlibFormatError, convert, resnet
from dlib2onnx.layers import LossMmod
from dlib2onnx.network import read_loss, read_network


@pytest.fixture(scope="module")
def small(dlib_format):
    return dlib_format.small_network()


@pytest.fixture(scope="module")
def published(resnet_path):
    return resnet_path.read_bytes()


def outcome(raw, network):
    """The layers, or the error; anything else that is raised fails the test."""
    try:
        return read_network(raw, network)
    except DlibFormatError as error:
        return error


def refused(raw, network):
    """Whether the bytes give the one error, at a place within them."""
    error = outcome(raw, network)
    return isinstance(error, DlibFormatError) and 0 <= error.offset <= len(raw)


def test_reads_every_weight(small, small_file):
    raw, expected = small_file
    steps = read_network(raw, small)
    assert [step.layer for step in steps] == list(reversed(small))
    read = {step.layer.name: step.weights for step in steps if step.weights}
    assert read.keys() == {name for name, weights in expected.items() if weights}
    for name, weights in read.items():
        for key, values in weights.items():
            np.testing.assert_array_equal(values, expected[name][key], err_msg=f"{name} {key}")


def test_shapes_and_offsets(small, small_file):
    raw, _ = small_file
    steps = {step.layer.name: step for step in read_network(raw, small)}
    assert steps["stem.conv"].shape == (4, 9, 9)
    assert steps["stem.pool"].shape == (4, 4, 4)
    assert steps["level0.block1.affine2"].shape == (6, 1, 1)
    assert steps["level0.block1.shortcut"].shape == (4, 2, 2)
    assert steps["level0.block1.add"].shape == (6, 2, 2)
    assert steps["fc"].shape == (3, 1, 1)
    assert raw[steps["fc"].offset :].startswith(b"\x01\x04fc_2")


def test_truncation_is_an_error(small, small_file):
    raw, _ = small_file
    for size in (*range(256), *range(256, len(raw), 7), len(raw) - 1):
        assert refused(raw[:size], small), size


def test_trailing_garbage_is_an_error(small, small_file):
    raw, _ = small_file
    with pytest.raises(DlibFormatError, match=r"ends before the file does .* value 1\)") as error:
        read_network(raw + b"\0", small)
    assert error.value.offset == len(raw)


def well_read(result, network):
    """An error, or the network with nothing but finite weights: a flip inside them is no crime."""
    return isinstance(result, DlibFormatError) or (
        [step.layer for step in result] == list(reversed(network))
        and all(np.isfinite(w).all() for step in result for w in step.weights.values())
    )


def test_every_flip_among_the_templates_is_an_error(dlib_format, small, small_file):
    raw, _ = small_file
    # From behind the loss up to the input's name there is nothing but versions of templates.
    start = len(dlib_format.opening(small[0], False))
    end = raw.index(b"input_rgb_image_sized")
    assert end - start == 2 * (len(small) - 2) + 2
    for place in range(start, end):
        for bit in (0x01, 0x10, 0x80):
            broken = bytearray(raw)
            broken[place] ^= bit
            assert refused(bytes(broken), small), (place, bit)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_flips_insertions_and_cuts(small, small_file, data):
    raw, _ = small_file
    broken = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(raw) - 1))
        change = data.draw(st.binary(max_size=9))
        broken[place : place + data.draw(st.integers(0, 9))] = change
    assert well_read(outcome(bytes(broken), small), small)


@pytest.mark.parametrize("field", range(4))
@pytest.mark.parametrize("value", [2**40, 2**64 - 1, -1])
def test_huge_and_negative_counts_allocate_nothing(dlib_format, small, small_file, field, value):
    """A tensor left over from training may have any size: only the file's own size limits it."""
    raw, _ = small_file
    dimensions = [1, 1, 1, 1]
    dimensions[field] = value
    hostile = raw.replace(
        dlib_format.EMPTY, dlib_format.integer(2) + dlib_format.integers(*dimensions), 1
    )
    tracemalloc.start()
    with pytest.raises(DlibFormatError, match=r"x_grad needs|x_grad: (n|k|nr|nc) is negative"):
        read_network(hostile, small)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 256 * 2**10


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "loss: version of add_loss_layer needs 1 bytes and the file has 0 left"),
        (b"\0" * 5000, "control byte"),
        (b"\xff" * 5000, "control byte"),
        (b"\x01" * 5000, "layer version 'loss_metric_2' or 'loss_mmod_'"),
        (b"<html>404</html>", "control byte"),
    ],
)
def test_what_is_no_network(raw, message):
    with pytest.raises(DlibFormatError, match=message):
        convert(raw)


def test_published_file_truncated_within_its_head(published):
    network = resnet.face_recognition()
    for size in range(4096):
        assert refused(published[:size], network), size


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_published_file_truncated_anywhere(published, data):
    size = data.draw(st.integers(0, len(published) - 1))
    start = time.process_time()
    assert refused(memoryview(published)[:size], resnet.face_recognition())
    assert time.process_time() - start < 2


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_published_file_with_flipped_bytes(published, data):
    network = resnet.face_recognition()
    # Its first 64 KiB hold the templates, the first convolutions and all that is between them.
    head = bytearray(published[: 2**16])
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(head) - 1))
        head[place] ^= data.draw(st.integers(1, 255))
    assert well_read(outcome(bytes(head) + published[2**16 :], network), network)


@pytest.mark.parametrize("number", [5, 68])
def test_a_landmark_predictor_is_no_network(models_folder, number):
    start = time.process_time()
    with pytest.raises(DlibFormatError, match="version: length is negative"):
        convert(models_folder / f"shape_predictor_{number}_face_landmarks.dat")
    assert time.process_time() - start < 1


def test_what_the_loss_keeps(dlib_format, small, small_file):
    raw, _ = small_file
    assert read_network(raw, small)[-1].weights == {}
    detector = (LossMmod(name="loss"), *small[1:])
    raw = raw.replace(
        dlib_format.opening(small[0], False), dlib_format.opening(detector[0], False), 1
    )
    assert read_network(raw, detector)[-1].weights["window"].tolist() == [80, 60]


def test_read_loss(dlib_format):
    raw = dlib_format.integer(1) + dlib_format.string("loss_mmod_")
    assert read_loss(raw, "loss_metric_2", "loss_mmod_") == "loss_mmod_"
    with pytest.raises(DlibFormatError, match=r"version 'loss_metric_2' .* value 'loss_mmod_'"):
        read_loss(raw, "loss_metric_2")
    with pytest.raises(DlibFormatError, match="version of add_loss_layer should be 1"):
        read_loss(b"\x01\x02", "loss_mmod_")

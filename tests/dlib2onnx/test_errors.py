import pickle

import pytest

from dlib2onnx import DlibFormatError


def test_message_says_what_where_which_value_and_the_remedy():
    error = DlibFormatError("The version is not 2", offset=7, value=9, remedy="Fetch it again.")
    assert str(error) == "The version is not 2 (at byte 7, value 9). Fetch it again."
    assert (error.offset, error.value) == (7, 9)
    assert isinstance(error, ValueError)


def test_default_remedy():
    with pytest.raises(DlibFormatError, match=r"fetch it again and compare its sha256"):
        raise DlibFormatError("Broken", offset=0, value=0)


def test_a_long_value_is_shortened():
    message = str(DlibFormatError("Broken", offset=0, value="x" * 10_000, remedy="Stop."))
    assert len(message) < 140
    assert "xxx…" in message


def test_survives_pickling():
    error = DlibFormatError("Broken", offset=3, value=(1, 2), remedy="Stop.")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.offset, again.value) == (str(error), 3, (1, 2))

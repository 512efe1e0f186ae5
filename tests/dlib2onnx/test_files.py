import pytest

from dlib2onnx import DlibFormatError
from dlib2onnx.files import MAX_BYTES, contents


def test_a_path_a_string_and_bytes(tmp_path):
    path = tmp_path / "some.dat"
    path.write_bytes(b"some")
    assert contents(path) == contents(str(path)) == contents(b"some") == b"some"


def test_a_file_too_large_is_not_read(tmp_path):
    path = tmp_path / "large.dat"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # sparse: it takes no room
    with pytest.raises(DlibFormatError, match=r"large\.dat is larger than any file"):
        contents(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        contents(tmp_path / "absent.dat")

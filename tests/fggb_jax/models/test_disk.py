import errno
import hashlib
import io
from pathlib import Path

import pytest

from fggb_jax.models import disk


def test_sha256_of_a_file(tmp_path):
    path = tmp_path / "file"
    assert disk.sha256_of(path) is None
    path.write_bytes(b"abc" * 99)
    assert disk.sha256_of(path) == hashlib.sha256(b"abc" * 99).hexdigest()


def test_written_whole_or_not_at_all(tmp_path):
    class Broken(io.BytesIO):
        def read(self, *_):
            raise OSError(errno.EIO, "no more")

    path = tmp_path / "file"
    disk.write(path, io.BytesIO(b"old"))
    with pytest.raises(OSError, match="no more"):
        disk.write(path, Broken(b"new"))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    disk.write(path, io.BytesIO(b"new"))
    assert path.read_bytes() == b"new"


def test_a_problem_names_the_variable_that_helps():
    full = disk.problem(OSError(errno.ENOSPC, "full"), Path("/a"), "FGGB_CARDS")
    assert full == "the disk of /a is full; free some space, or set FGGB_CARDS to another disk"
    denied = disk.problem(PermissionError(errno.EACCES, "Permission denied", "/a/b"), Path("/a"))
    assert denied.startswith("cannot write to /a/b (Permission denied); set FGGB_CACHE")

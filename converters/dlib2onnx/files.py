"""From a path or bytes to bytes, no file larger than it can be."""

import os
from pathlib import Path

from dlib2onnx.errors import DlibFormatError

# The largest published file, the 68 landmarks, has 100 MB; a network saved without `net.clean()`
# drags its gradients along.
MAX_BYTES = 128 * 2**20


def contents(source: str | os.PathLike[str] | bytes) -> bytes:
    """The bytes of a file, or the bytes given.

    Raises:
        DlibFormatError: if the file is larger than `MAX_BYTES`; it is then not read.
        OSError: if it cannot be read.
    """
    if isinstance(source, bytes):
        return source
    path = Path(source)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_BYTES:
            raise DlibFormatError(
                f"{path.name} is larger than any file that dlib publishes, {MAX_BYTES} bytes",
                offset=0,
                value=size,
                remedy="Give one of dlib's .dat files, a network saved after net.clean().",
            )
        return file.read(size)

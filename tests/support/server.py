"""A server of files on 127.0.0.1, in a thread, that goes wrong on request."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CHUNK = 1 << 14


class Server:
    """Serves `files`, a mapping of paths to contents; a context manager.

    Attributes:
        files: what is served, by path, such as {"/face.onnx": b"…"}; a string redirects to it.
        ranges: whether a Range is answered with 206.
        length: whether the length is announced.
        faults: what happens to the next requests, one each, then no more: "truncate" (half of the
            body), "reset" (half, then the connection breaks), "refuse" (nothing, then it breaks),
            a status such as 404 or 500, or None.
        pause: seconds before each 16 KiB.
        requests: (path, Range header or None) of every request so far.
    """

    def __init__(self, files: dict[str, bytes | str], **options: Any) -> None:
        self.files = files
        self.ranges = True
        self.length = True
        self.faults: list[str | int | None] = []
        self.pause = 0.0
        self.requests: list[tuple[str, str | None]] = []
        for name, value in options.items():
            setattr(self, name, value)
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        self.thread = threading.Thread(
            target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )

    def __enter__(self) -> Server:
        self.thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            server.requests.append((self.path, asked))
            fault = server.faults.pop(0) if server.faults else None
            if fault == "refuse":
                return self.break_off()
            if isinstance(fault, int) or self.path not in server.files:
                return self.send_error(fault if isinstance(fault, int) else 404)
            body = server.files[self.path]
            if isinstance(body, str):
                self.send_response(302)
                self.send_header("Location", body)
                return self.end_headers()
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
            if not server.ranges:
                start = 0
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            if server.length:
                self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            end = start + (len(body) - start) // 2 if fault else len(body)
            self.send(body[start:end])
            if fault == "reset":
                self.break_off()

        def send(self, body: bytes) -> None:
            for first in range(0, len(body), CHUNK):
                time.sleep(server.pause)
                chunk = body[first : first + CHUNK]
                try:
                    self.wfile.write(chunk)
                except OSError:  # the client went away, or was killed
                    return

        def break_off(self) -> None:
            # Not lingering makes closing a reset; the files made of the socket would keep it open.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler

"""Importing costs little and starts nothing."""

import subprocess
import sys

import pytest

import dlib2onnx
import fggb_jax
import onnx2jax


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_starts_no_backend_and_nothing_heavy():
    code = """
import socket, sys
def refuse(*_, **__): raise AssertionError("a socket was opened")
socket.socket.__init__ = refuse
import fggb_jax
from jax._src import xla_bridge
heavy = ("matplotlib", "torch", "cv2", "jinja2", "flax", "onnxruntime", "dlib")
print([name for name in heavy if name in sys.modules], list(xla_bridge._backends))
"""
    assert run(code) == "[] []"


def test_importing_takes_at_most_a_second_more_than_jax():
    code = """
import time
import jax, jax.numpy
start = time.process_time(); import fggb_jax; print(time.process_time() - start)
"""
    # Processor time, the least of three: what a busy machine disturbs least.
    assert min(float(run(code)) for _ in range(3)) <= 1.0


@pytest.mark.parametrize("package", [fggb_jax, onnx2jax, dlib2onnx])
def test_every_public_name_is_documented(package):
    assert [name for name in package.__all__ if not getattr(package, name).__doc__] == []

"""FGGB compiles for four chips of a TPU: no exchange, within the memory, the floor's arithmetic.

In processes of their own, since libtpu is set up by the environment.
"""

import importlib.util
import os
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.tpu,
    pytest.mark.skipif(
        importlib.util.find_spec("libtpu") is None,
        reason="libtpu, which compiles for TPUs, is not installed: pip install 'fggb-jax[tpu]'",
    ),
]


def run(benchmarks, *arguments):
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    environment["PYTHONPATH"] = os.pathsep.join([str(benchmarks), *sys.path])
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)


def test_a_network_compiles_and_is_sound(benchmarks):
    done = run(benchmarks, str(benchmarks / "tpu.py"), "--quick")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mobilefacenet-512" in done.stdout


def test_a_program_that_exchanges_something_is_noticed(benchmarks):
    program = """
import tpu
case = tpu.Case("mobilefacenet-512", "v5e", batch=1)
for share in (lambda x: x, lambda x: x - x.mean(0)):
    print(tpu.collectives(tpu.compiled(case, lambda model, images, partners: share(images))[0]))
"""
    done = run(benchmarks, "-c", program)
    assert done.returncode == 0, done.stderr
    none, some = map(int, done.stdout.split())
    assert none == 0
    assert some > 0

"""The GPU's command runs at tiny size on a CPU; its parts do what they say."""

import importlib.util
import json
import math
import os
import subprocess
import sys
import time
from importlib import import_module

import numpy as np
import pytest

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch, the other side, is not installed"
)


@pytest.mark.slow
@needs_torch
def test_the_command_at_small_size(benchmarks, tmp_path):
    environment = os.environ | {"FGGB_RESULTS": str(tmp_path)}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    command = [sys.executable, str(benchmarks / "gpu.py"), "--small"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "gpu-small.json").read_text("utf-8"))
    rows = {(row["precision"], row["way"]): row for row in found["rows"]}
    assert len(rows) == 3 * 7
    assert all(math.isfinite(row["seconds"]) for row in rows.values())
    for (precision, _), row in rows.items():
        assert row["one_minus_cosine"] < (2e-2 if precision == "bfloat16" else 1e-6)
    assert rows["bfloat16", "scan"]["one_minus_cosine"] > 1e-9
    assert "PyTorch's best" in (tmp_path / "gpu-small.md").read_text("utf-8")


SLEEPER = """
import time

def serve(pipe):
    while (order := pipe.recv())[0] != "stop":
        time.sleep(order[0])
        pipe.send(order[0])
"""


def test_a_side_that_hangs_is_replaced(tmp_path, monkeypatch):
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    monkeypatch.syspath_prepend(str(tmp_path))
    side = import_module("sides").Side(import_module("sleeper").serve)
    assert side.ask(0, seconds=60) == 0
    with pytest.raises(TimeoutError, match="no answer in 1 s"):
        side.ask(30, seconds=1)
    assert side.ask(0.01, seconds=60) == 0.01
    side.stop()


def test_power_is_read_from_lines():
    power = import_module("power")
    assert power.readings("71.5\n[N/A]\n\n 80\n") == [71.5, 80]


def test_energy_is_none_where_nothing_tells(monkeypatch):
    power = import_module("power")
    monkeypatch.setattr(power.shutil, "which", lambda name: None)
    assert power.energy(lambda: None) is None


def test_energy_is_power_times_time(tmp_path, monkeypatch):
    power = import_module("power")
    meter = tmp_path / "meter"
    meter.write_text("#!/bin/sh\nwhile true; do echo 200; sleep 0.05; done\n")
    meter.chmod(0o700)
    monkeypatch.setattr(power, "QUERY", (str(meter),))
    assert power.energy(lambda: time.sleep(0.1), 0.5) == pytest.approx(20, rel=0.3)


def test_the_error_is_the_worst_of_all_maps():
    gpu = import_module("gpu")
    u = np.ones((2, 2, 4, 4))
    v = u.copy()
    v[1, 0] = np.arange(16).reshape(4, 4)
    cosine = v[1, 0].sum() / np.linalg.norm(v[1, 0]) / 4
    assert gpu.one_minus_cosine(u, 3 * v) == pytest.approx(1 - cosine)
    assert gpu.one_minus_cosine(u, 3 * u) == 0

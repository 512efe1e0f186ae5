"""Several devices, and several processes, give what one device gives."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import fggb_jax as fx
import tiny
from tolerances import assert_close

SCRIPT = Path(__file__).resolve().parents[1] / "support" / "explain_on_mesh.py"
SECONDS = 300


def started(*arguments, devices):
    environment = {
        **os.environ,
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    return subprocess.Popen(
        [sys.executable, SCRIPT, *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(processes):
    """Wait for all; whoever fails or hangs takes the others along."""
    try:
        for process in processes:
            output, _ = process.communicate(timeout=SECONDS)
            assert process.returncode == 0, output
    finally:
        for process in processes:
            process.kill()


@pytest.fixture(scope="module")
def one_device():
    stream = fx.explain_pairs(tiny.model(), tiny.faces(), tiny.PAIRS)
    return np.stack([tiny.maps(e) for e in stream])


def test_eight_devices(one_device, tmp_path):
    finished([started(tmp_path / "maps.npz", 8, 3, 2, 1, devices=8)])
    with np.load(tmp_path / "maps.npz") as found:
        assert_close(found["8"], one_device, relative=1e-6)
        # The program of a device is the same however many there are.
        np.testing.assert_array_equal(found["8"], found["3"])
        np.testing.assert_array_equal(found["8"], found["2"])
        np.testing.assert_array_equal(found["1"], one_device)  # the engine of CPUs


@pytest.mark.parametrize("devices", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_two_processes_share_the_pairs(one_device, tmp_path, devices):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    paths = [tmp_path / f"{rank}.npz" for rank in range(2)]
    finished(
        [
            started(path, "--join", address, rank, 2, devices=devices)
            for rank, path in enumerate(paths)
        ]
    )
    found = [np.load(path)["all"] for path in paths]
    assert [len(maps) for maps in found] == [len(s) for s in np.array_split(tiny.PAIRS, 2)]
    assert_close(np.concatenate(found), one_device, relative=1e-6)
    if devices == 1:
        np.testing.assert_array_equal(np.concatenate(found), one_device)


def test_a_device_is_where_the_work_is_done(one_device):
    second = jax.devices()[1]
    stream = fx.explain_pairs(tiny.model(), tiny.faces(), tiny.PAIRS, device=second)
    np.testing.assert_array_equal([tiny.maps(e) for e in stream], one_device)


def test_a_mesh_of_others_is_refused(monkeypatch):
    mesh = jax.make_mesh((2,), ("any",))
    monkeypatch.setattr(jax, "process_index", lambda: 3)
    with pytest.raises(fx.OptionError, match=r"devices of processes \[0\] and none of this one, 3"):
        fx.explain_pairs(tiny.model(), tiny.faces(), tiny.PAIRS, device=mesh)


def test_a_mesh_for_one_probe_is_refused():
    mesh = jax.make_mesh((2,), ("any",))
    faces = tiny.faces()
    embeddings = tiny.model().embed(faces)
    with pytest.raises(fx.OptionError, match="device is a mesh; one probe is walked by one device"):
        fx.explain_one_to_many(tiny.model(), faces[0], embeddings, device=mesh)

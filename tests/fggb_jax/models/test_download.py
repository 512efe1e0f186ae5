"""Downloads: nothing wrong is ever loadable, and every failure says what to do."""

import dataclasses
import errno
import hashlib
import io
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

import fggb_jax as fx
from fggb_jax.models import disk, download, zoo
from weights import CONTENT, PATH, SHA256


def part(card):
    target = zoo.cached_path(card)
    return target.with_name(target.name + ".part")


def keep(card, data):
    """As if an earlier download had been interrupted."""
    part(card).parent.mkdir(parents=True, exist_ok=True)
    part(card).write_bytes(data)


def leftovers(card):
    return sorted(p.name for p in part(card).parent.iterdir() if not p.name.endswith(".lock"))


def test_downloaded_once(server, card, tmp_path):
    seen = []
    path = zoo.fetch(card, progress=lambda done, total: seen.append((done, total)))
    assert path == tmp_path / "cache" / f"face-{SHA256[:12]}.onnx" == zoo.cached_path(card)
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert zoo.is_cached(card)
    assert zoo.fetch(card) == path
    assert server.requests == [(PATH, None)]
    assert leftovers(card) == [path.name]


def test_of_unknown_length(server, card):
    server.length = False
    seen = []
    zoo.fetch(card, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(CONTENT), None)


@pytest.mark.parametrize("fault", ["truncate", "reset", "refuse", 500, 503])
def test_an_interruption_is_gone_over(server, card, fault):
    server.faults = [fault, fault]
    assert zoo.fetch(card).read_bytes() == CONTENT
    resumed = [asked for _, asked in server.requests[1:]]
    assert len(resumed) == 2
    assert all(resumed) == (fault in ("truncate", "reset"))


def test_resumed_in_a_later_call(server, card):
    server.faults = ["truncate"] * download._ATTEMPTS
    with pytest.raises(fx.ModelError, match=r"truncated: .* bytes, at 4 attempts; .* is kept"):
        zoo.fetch(card)
    size = part(card).stat().st_size
    assert 0 < size < len(CONTENT)
    assert zoo.fetch(card).read_bytes() == CONTENT
    assert server.requests[-1] == (PATH, f"bytes={size}-")


def test_resumed_through_a_redirect(server, card):
    """As GitHub and Hugging Face hand files out."""
    server.files["/latest/face.onnx"] = PATH
    card = dataclasses.replace(card, source=server.url + "/latest/face.onnx")
    keep(card, CONTENT[:1000])
    assert zoo.fetch(card).read_bytes() == CONTENT
    assert server.requests[-1] == (PATH, "bytes=1000-")


def test_a_server_without_ranges_starts_again(server, card):
    server.ranges = False
    keep(card, CONTENT[:1000])
    assert zoo.fetch(card).read_bytes() == CONTENT


@pytest.mark.parametrize("kept", [b"another" * 99, CONTENT + b"more", b"x" * len(CONTENT)])
def test_what_was_kept_of_another_file_is_thrown_away(server, card, kept):
    keep(card, kept)
    assert zoo.fetch(card).read_bytes() == CONTENT


def test_killed_just_before_the_end_needs_no_network(card, monkeypatch):
    keep(card, CONTENT)
    monkeypatch.setattr(download, "_open", None)
    assert zoo.fetch(card).read_bytes() == CONTENT


def test_wrong_content_is_removed(server, card):
    server.files[PATH] = CONTENT[:-1] + b"?"
    wrong = hashlib.sha256(server.files[PATH]).hexdigest()
    with pytest.raises(fx.ModelError, match=f"has sha256 {wrong}, not {SHA256}.*was removed"):
        zoo.fetch(card)
    assert leftovers(card) == []


def test_a_damaged_cache_is_replaced(server, card):
    path = zoo.fetch(card)
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(fx.ModelError, match=r"cached file has sha256 .*put face\.onnx \(sha256"):
        zoo.fetch(card, offline=True)
    assert zoo.fetch(card).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (
            404,
            r"HTTP status 404 .*the file is gone; another source.*FGGB_SOURCE.*Or save face\.onnx",
        ),
        (403, r"HTTP status 403 .*it refuses us"),
        (500, r"HTTP status 500 .*at 4 attempts"),
    ],
)
def test_a_status_is_named(server, card, status, message):
    server.faults = [status] * 9
    with pytest.raises(fx.ModelError, match=message):
        zoo.fetch(card)


def test_slow_but_steady(server, card, monkeypatch):
    """A time limit is on silence, not on the whole."""
    monkeypatch.setattr(download, "_TIMEOUT", 0.2)
    server.pause = 0.01  # 0.64 s in all
    assert zoo.fetch(card).read_bytes() == CONTENT
    server.pause = 0.5
    with pytest.raises(fx.ModelError, match=r"timed out.*at 4 attempts"):
        zoo.fetch(card, cache=zoo.cache_folder() / "other")


def test_no_network(card, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", fail)
    with pytest.raises(fx.ModelError, match=r"no connection to 127.*unreachable.*Or save face"):
        zoo.fetch(card)


def test_a_full_disk_is_known_beforehand(card, monkeypatch):
    usage = shutil.disk_usage(".")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(fx.ModelError, match=r"disk is full: 1\.0 MB are needed.*FGGB_CACHE"):
        zoo.fetch(card)


def test_a_disk_that_fills_up(card, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk, "flush", full)
    with pytest.raises(fx.ModelError, match=r"the disk of .* is full; free some space"):
        zoo.fetch(card)
    assert not zoo.is_cached(card)


def test_a_cache_that_cannot_be_written(card, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(fx.ModelError, match=r"cannot write to .*file.*set FGGB_CACHE"):
        zoo.fetch(card, cache=tmp_path / "file" / "cache")


# Two at once, and killed


FETCH = """
import os, signal, sys
import fggb_jax as fx
from fggb_jax.models import disk, zoo

source, sha256, moment = sys.argv[1:]
rename = os.replace

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

if moment == "flush":
    disk.flush = die
if moment == "name":
    os.replace = die
if moment == "named":
    os.replace = lambda *names: die(rename(*names))
print("ready", flush=True)
zoo.fetch(fx.Card("face", (4, 4), licence="MIT", source=source, sha256=sha256))
"""


def start(card, moment="never"):
    command = [sys.executable, "-c", FETCH, card.source, card.sha256, moment]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, **pipes)


def test_processes_at_once(server, card):
    server.pause = 0.01
    children = [start(card) for _ in range(2)]
    for child in children:
        child.communicate(timeout=60)
        assert child.returncode == 0
    assert zoo.fetch(card, offline=True).read_bytes() == CONTENT
    assert server.requests == [(PATH, None)]


def test_threads_at_once(server, card):
    server.pause = 0.001
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: zoo.fetch(card), range(8)))
    assert set(paths) == {zoo.cached_path(card)}
    assert server.requests == [(PATH, None)]


def wait_for(kept, size, target, child):
    """Until that many bytes have arrived, or all is done."""
    while not target.exists() and (not kept.exists() or kept.stat().st_size < size):
        assert child.poll() is None
        time.sleep(0.0002)


# When the process is killed: at a share of the file and a delay after it, or at a step of the end.
KILLS = [(0.4, 0.0), "flush", "name", "named"]
TWENTY_KILLS = [(k / 12, 0.0) for k in range(12)]
TWENTY_KILLS += [(1.0, d) for d in (0, 0.0005, 0.001, 0.0015, 0.002, 0.004, 0.006, 0.01)]


@pytest.mark.parametrize(
    "moment", [*KILLS, *(pytest.param(k, marks=pytest.mark.slow) for k in TWENTY_KILLS)], ids=str
)
def test_killed(server, card, moment):
    """Promise 5: afterwards either nothing or the right file is loadable."""
    server.pause = 0.005
    target, kept = zoo.cached_path(card), part(card)
    if isinstance(moment, str):
        child = start(card, moment)
        child.communicate()
        assert child.returncode == -signal.SIGKILL
        assert target.exists() == (moment == "named")
    else:
        share, delay = moment
        child = start(card)
        assert child.stdout.readline() == b"ready\n"
        wait_for(kept, share * len(CONTENT), target, child)
        time.sleep(delay)
        child.kill()
        child.communicate()
        assert share == 1 or not target.exists()
    models = [name for name in leftovers(card) if not name.endswith(".part")]
    if target.exists():
        assert models == [target.name]
        assert zoo.fetch(card, offline=True).read_bytes() == CONTENT
    else:
        assert models == []
        with pytest.raises(fx.ModelError, match="it is not in the cache"):
            zoo.fetch(card, offline=True)
    size = kept.stat().st_size if kept.exists() else 0
    server.pause = 0
    assert zoo.fetch(card).read_bytes() == CONTENT
    if 0 < size < len(CONTENT):
        assert server.requests[-1] == (PATH, f"bytes={size}-")


# Archives


def archive(*names):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as package:
        for name in names:
            package.writestr(name, CONTENT)
    return file.getvalue()


def test_a_member_of_an_archive(server, card):
    server.files["/pack.zip"] = archive("pack/other.onnx", "pack/face.onnx")
    card = dataclasses.replace(card, source=server.url + "/pack.zip#face.onnx")
    server.faults = ["truncate"]
    assert zoo.fetch(card).read_bytes() == CONTENT
    assert leftovers(card) == [zoo.cached_path(card).name]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>", "no intact zip archive"),
        (archive("other.onnx"), r"holds 0 files face\.onnx"),
        (archive("a/face.onnx", "b/face.onnx"), r"holds 2 files face\.onnx"),
    ],
)
def test_a_wrong_archive_is_refused(server, card, content, message):
    server.files["/pack.zip"] = content
    card = dataclasses.replace(card, source=server.url + "/pack.zip#face.onnx")
    with pytest.raises(fx.ModelError, match=message):
        zoo.fetch(card)
    assert not zoo.is_cached(card)

"""Weights by name: nothing wrong is ever loadable, and every failure says what to do."""

import dataclasses
import errno
import hashlib
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import types
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest

import fggb_jax as fx
import networks
from fggb_jax.models import zoo
from server import Server

CONTENT = np.random.default_rng(0).bytes(1 << 20)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PATH = "/models/face.onnx"


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """No proxy, no pauses, and folders of this test alone."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("FGGB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FGGB_CARDS", str(tmp_path / "cards"))
    for name in ("FGGB_SOURCE", "FGGB_OFFLINE", "FGGB_ACCEPT_LICENCE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(zoo, "_PAUSE", 0.001)


@pytest.fixture
def server():
    with Server({PATH: CONTENT}) as server:
        yield server


@pytest.fixture
def card(server):
    return fx.Card("face", (4, 4), licence="MIT", source=server.url + PATH, sha256=SHA256)


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
    server.faults = ["truncate"] * zoo._ATTEMPTS
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
    monkeypatch.setattr(zoo, "_open", None)
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
    monkeypatch.setattr(zoo, "_TIMEOUT", 0.2)
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


def test_offline_opens_no_socket(card, monkeypatch):
    path = zoo.fetch(card)

    def refuse(*_, **__):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "__init__", refuse)
    monkeypatch.setenv("FGGB_OFFLINE", "1")
    assert zoo.fetch(card) == path
    path.unlink()
    with pytest.raises(fx.ModelError, match=rf"it is not in the cache: put face\.onnx .*{path}"):
        zoo.fetch(card)
    monkeypatch.delenv("FGGB_OFFLINE")
    with pytest.raises(fx.ModelError, match="cannot be downloaded offline"):
        zoo.fetch(card, offline=True)
    with pytest.raises(AssertionError, match="a socket was opened"):
        zoo.fetch(card)


def test_a_full_disk_is_known_beforehand(card, monkeypatch):
    usage = shutil.disk_usage(".")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(fx.ModelError, match=r"disk is full: 1\.0 MB are needed.*FGGB_CACHE"):
        zoo.fetch(card)


def test_a_disk_that_fills_up(card, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(zoo, "_flush", full)
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
from fggb_jax.models import zoo

source, sha256, moment = sys.argv[1:]
rename = os.replace

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

if moment == "flush":
    zoo._flush = die
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


# Other sources


def test_a_folder_instead(card, tmp_path, monkeypatch):
    folder = tmp_path / "mirror"
    folder.mkdir()
    with pytest.raises(fx.ModelError, match=r"holds none of face\.onnx, face\.onnx, face-.*onnx"):
        zoo.fetch(card, source=folder)
    (folder / "face.onnx").write_bytes(CONTENT)
    assert zoo.fetch(card, source=folder) == folder / "face.onnx"
    monkeypatch.setenv("FGGB_SOURCE", str(folder))
    assert zoo.fetch(card, offline=True) == folder / "face.onnx"
    assert zoo.fetch(card, source=folder / "face.onnx") == folder / "face.onnx"
    (folder / "face.onnx").write_bytes(b"?")
    with pytest.raises(fx.ModelError, match=rf"face\.onnx has sha256 .*'face' is {SHA256}"):
        zoo.fetch(card)
    with pytest.raises(fx.ModelError, match=r"'/nowhere' is neither a URL, a file nor a folder"):
        zoo.fetch(card, source="/nowhere")


def test_another_server_instead(server, card, monkeypatch):
    server.files = {"/mirror/face.onnx": CONTENT}
    assert zoo.fetch(card, source=server.url + "/mirror/").read_bytes() == CONTENT
    zoo.cached_path(card).unlink()
    monkeypatch.setenv("FGGB_SOURCE", server.url + "/mirror/face.onnx")
    assert zoo.fetch(card).read_bytes() == CONTENT
    zoo.cached_path(card).unlink()
    with pytest.raises(fx.ModelError, match=r"has scheme 'ftp'; give http, https or hf"):
        zoo.fetch(card, source="ftp://host/")


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


def test_the_hub(card, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    card = dataclasses.replace(card, source="hf://owner/repo/sub/face.onnx@v1")
    with pytest.raises(fx.ModelError, match=r"needs the package huggingface-hub: pip install"):
        zoo.fetch(card)
    with pytest.raises(fx.ModelError, match="cannot be downloaded offline"):
        zoo.fetch(card, offline=True)
    asked = []

    def hf_hub_download(repo_id, filename, *, revision, local_files_only=False):
        asked.append((repo_id, filename, revision, local_files_only))
        if local_files_only and len(asked) == 1:
            raise FileNotFoundError("not in the hub's cache")
        path = tmp_path / "blob.onnx"
        path.write_bytes(CONTENT)
        return str(path)

    hub = types.SimpleNamespace(hf_hub_download=hf_hub_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    assert zoo.fetch(card).read_bytes() == CONTENT
    assert asked == [("owner/repo", "sub/face.onnx", "v1", cached) for cached in (True, False)]
    assert zoo.fetch(card, offline=True).read_bytes() == CONTENT
    zoo.fetch(card, source="hf://other/repo@main")
    assert asked[-1] == ("other/repo", "face.onnx", "main", True)
    with pytest.raises(fx.ModelError, match=r"no file on the hub; give hf://owner/repo/path"):
        zoo.fetch(dataclasses.replace(card, source="hf://owner/face.onnx"))


def test_links_of_a_hub_cache_load(tmp_path):
    """onnxruntime#27353: snapshots are links to blobs."""
    blob = tmp_path / "models--o--r" / "blobs" / "0123abcd"
    link = tmp_path / "models--o--r" / "snapshots" / "v1" / "face.onnx"
    blob.parent.mkdir(parents=True)
    link.parent.mkdir(parents=True)
    onnx.save(networks.iresnet((1, 1, 1, 1), width=4, dimension=16, batch=1), blob)
    link.symlink_to(os.path.relpath(blob, link.parent))
    sha256 = hashlib.sha256(blob.read_bytes()).hexdigest()
    card = fx.Card("linked", (112, 112), sha256=sha256)
    assert zoo.fetch(card, source=link) == link
    assert fx.load_model(link, card=card).dimension == 16


# Licences


def test_the_licence_is_shown_first(server, card, capsys):
    zoo.fetch(card)
    assert f"authors state it: MIT\n  source: {server.url}" in capsys.readouterr().err
    zoo.fetch(card)
    assert capsys.readouterr().err == ""


def test_a_restrictive_licence_must_be_accepted(server, card, capsys, monkeypatch):
    card = dataclasses.replace(card, licence="non-commercial research only")
    assert "Go on only if" in zoo.licence_notice(card)
    refused = pytest.raises(fx.ModelError, match=r"(?s)is not accepted.*non-comm.*FGGB_ACCEPT_LIC")
    with refused:
        zoo.fetch(card)
    shown = []
    with pytest.raises(fx.ModelError, match="is not accepted, so nothing is downloaded"):
        zoo.fetch(card, confirm=lambda notice: shown.append(notice))  # None is no
    assert shown == [zoo.licence_notice(card)]
    assert server.requests == []
    zoo.fetch(card, confirm=lambda notice: True)
    for accept in (lambda: zoo.fetch(card, accept_licence=True), lambda: zoo.fetch(card)):
        zoo.cached_path(card).unlink()
        accept()
        assert zoo.licence_notice(card) in capsys.readouterr().err
        monkeypatch.setenv("FGGB_ACCEPT_LICENCE", "1")


def test_nothing_is_downloaded_without_a_sha256(server, card, tmp_path):
    card = dataclasses.replace(card, sha256=None)
    with pytest.raises(
        fx.ModelError, match=r"has no sha256, so nothing is downloaded.*FGGB_SOURCE"
    ):
        zoo.fetch(card)
    assert not zoo.is_cached(card)
    assert server.requests == []
    (tmp_path / "face.onnx").write_bytes(b"the user's own")
    assert zoo.fetch(card, source=tmp_path) == tmp_path / "face.onnx"


# The cards of the package


def test_shipped_cards_can_be_fetched_or_say_why_not():
    words = {"dlib-resnet-v1", "mobilefacenet", "magface-iresnet100"}
    for card in fx.cards().values():
        assert (zoo._own_address(card) is None) == (card.name in words), card.name
        assert zoo._filename(card).endswith((".onnx", ".dat"))
        assert zoo.needs_consent(card) == (card.licence not in ("CC0-1.0", "MIT", "Apache-2.0"))
        if card.name in words:
            with pytest.raises(fx.ModelError, match=r"get the weights from|no address to download"):
                zoo.fetch(card)
    assert zoo._filename(fx.cards()["w600k_r50"]) == "w600k_r50.onnx"
    assert zoo._filename(fx.cards()["dlib-resnet-v1"]).startswith("dlib_face_recognition_resnet")


# The user's own cards


@pytest.fixture
def face_file(tmp_path):
    path = tmp_path / "mine" / "face.onnx"
    path.parent.mkdir()
    onnx.save(networks.iresnet((1, 1, 1, 1), width=4, dimension=16, batch=1), path)
    path.with_suffix(".toml").write_text(
        'name = "mine"\nsize = [112, 112]\nsource = "trained by \\"us\\", ö"\nthreshold = 0.3\n'
    )
    return path


def test_added_and_found_again(face_file, tmp_path):
    sha256 = hashlib.sha256(face_file.read_bytes()).hexdigest()
    toml = zoo.add(face_file)
    assert toml == tmp_path / "cards" / "mine.toml"
    face_file.unlink()
    card = zoo.user_cards()["mine"]
    assert card == fx.Card(
        "mine", (112, 112), source='trained by "us", ö', threshold=0.3, sha256=sha256
    )
    assert zoo.fetch(card, offline=True) == tmp_path / "cards" / "mine.onnx"


def test_added_where_it_lies(face_file):
    card = fx.Card("other", (112, 112))
    zoo.add(face_file, "my.model-2", card=card, copy=False)
    found = zoo.user_cards()["my.model-2"]
    assert zoo.fetch(found, offline=True) == face_file


def test_external_data_stays_where_it_is(face_file):
    proto = onnx.load(face_file)
    onnx.save(proto, face_file, save_as_external_data=True, location="data", size_threshold=0)
    toml = zoo.add(face_file)
    assert not toml.with_suffix(".onnx").exists()
    assert zoo.fetch(zoo.user_cards()["mine"], offline=True) == face_file


def test_a_name_can_be_replaced(face_file):
    zoo.add(face_file)
    with pytest.raises(fx.ModelError, match=r"there is a card .*mine\.toml already; choose"):
        zoo.add(face_file)
    zoo.add(face_file, copy=False, replace=True)
    assert zoo.fetch(zoo.user_cards()["mine"], offline=True) == face_file


@pytest.mark.parametrize(
    ("name", "message"),
    [("../up", "makes no file name"), ("", "makes no file name"), ("sface", "of the package")],
)
def test_a_bad_name_is_refused(face_file, name, message):
    with pytest.raises(fx.ModelError, match=message):
        zoo.add(face_file, name)


def test_what_cannot_be_added(face_file, tmp_path):
    with pytest.raises(fx.ModelError, match=r"is no file of weights; give an \.onnx"):
        zoo.add(tmp_path / "none.onnx")
    with pytest.raises(fx.ModelError, match=r"has sha256 .*its card says 00"):
        zoo.add(face_file, card=fx.Card("mine", (4, 4), sha256="00"))
    face_file.with_suffix(".toml").unlink()
    with pytest.raises(fx.ModelError, match=r"lay a card beside it as .*face\.toml"):
        zoo.add(face_file)
    face_file.write_bytes(b"text")
    with pytest.raises(fx.ModelError, match=r"is no ONNX file"):
        zoo.add(face_file, card=fx.Card("mine", (4, 4)))


def test_a_broken_card_is_reported_and_skipped(face_file):
    assert zoo.user_cards() == {}
    folder = zoo.add(face_file).parent
    (folder / "broken.toml").write_text("name = ")
    (folder / "number.toml").write_text("name = 5\nsize = [4, 4]\n")
    (folder / "second.toml").write_text('name = "mine"\nsize = [4, 4]\n')
    (folder / "sface.toml").write_text('name = "sface"\nsize = [4, 4]\n')
    reports = []
    assert list(zoo.user_cards(reports.append)) == ["mine"]
    assert [text.split()[2] for text in reports] == [
        "broken.toml", "number.toml", "second.toml", "sface.toml",
    ]  # fmt: skip
    with pytest.warns(UserWarning, match=r"\.toml is skipped") as warned:
        zoo.user_cards()
    assert len(warned) == 4

"""Weights by name: where they are found, whence they come, and under which licence."""

import dataclasses
import hashlib
import os
import socket
import sys
import types

import onnx
import pytest

import fggb_jax as fx
import networks
from fggb_jax.models import zoo
from weights import CONTENT, SHA256

pytestmark = pytest.mark.usefixtures("surroundings")


@dataclasses.dataclass(frozen=True)
class DetectorCard:
    """Of another kind than a recognizer's, with what `fetch` needs."""

    name: str
    source: str
    sha256: str
    licence: str


def test_a_card_of_any_kind_is_fetched(card):
    detector = DetectorCard("detector", card.source, card.sha256, "MIT")
    assert zoo.fetch(detector) == zoo.cached_path(detector)
    assert zoo.is_cached(detector)
    assert not zoo.needs_consent(detector)


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

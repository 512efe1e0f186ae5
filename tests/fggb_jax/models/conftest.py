"""A server of weights, a card for them, and folders of one test alone."""

import onnx
import pytest

import fggb_jax as fx
import networks
from fggb_jax.models import download
from server import Server
from weights import CONTENT, PATH, SHA256


@pytest.fixture
def surroundings(tmp_path, monkeypatch):
    """No proxy, no pauses, and folders of this test alone."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("FGGB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FGGB_CARDS", str(tmp_path / "cards"))
    for name in ("FGGB_SOURCE", "FGGB_OFFLINE", "FGGB_ACCEPT_LICENCE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "_PAUSE", 0.001)


@pytest.fixture
def server(surroundings):
    with Server({PATH: CONTENT}) as server:
        yield server


@pytest.fixture
def card(server):
    return fx.Card("face", (4, 4), licence="MIT", source=server.url + PATH, sha256=SHA256)


@pytest.fixture
def mine(tmp_path):
    """A user's own small network, its card beside it."""
    path = tmp_path / "mine" / "face.onnx"
    path.parent.mkdir()
    onnx.save(networks.iresnet((1, 1, 1, 1), width=4, dimension=16, batch=1), path)
    path.with_suffix(".toml").write_text(
        'name = "mine"\nsize = [112, 112]\nsource = "trained by \\"us\\", ö"\nthreshold = 0.3\n'
    )
    return path

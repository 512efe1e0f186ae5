"""Hugging Face's tree of links; onnxruntime#27353 refuses it altogether."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnx2jax

WEIGHT = np.arange(4, dtype=np.float32)


@pytest.fixture
def snapshot(tmp_path):
    """models--o--r with a model and its external data, both links into blobs."""
    w = numpy_helper.from_array(WEIGHT, "w")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [x], [y], [w])
    opset = helper.make_opsetid("", 18)
    proto = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    repository = tmp_path / "models--o--r"
    folder = repository / "snapshots" / "v1"
    folder.mkdir(parents=True)
    (repository / "blobs").mkdir()
    onnx.save(
        proto, folder / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0
    )
    for name, blob in (("m.onnx", "0123"), ("m.data", "4567")):
        (folder / name).rename(repository / "blobs" / blob)
        (folder / name).symlink_to(Path("../../blobs") / blob)
    return folder


def test_links_into_the_repositorys_blobs_are_followed(snapshot):
    m = onnx2jax.load(snapshot / "m.onnx")
    np.testing.assert_array_equal(m.params["w"], WEIGHT)


def test_a_relative_path_does_as_well(snapshot, monkeypatch):
    monkeypatch.chdir(snapshot)
    np.testing.assert_array_equal(onnx2jax.load("m.onnx").params["w"], WEIGHT)


def test_files_that_are_no_links_are_read_as_everywhere(snapshot):
    data = (snapshot / "m.data").read_bytes()
    (snapshot / "m.data").unlink()
    (snapshot / "m.data").write_bytes(data)
    np.testing.assert_array_equal(onnx2jax.load(snapshot / "m.onnx").params["w"], WEIGHT)


@pytest.mark.parametrize("name", ["m.onnx", "m.data"])
@pytest.mark.parametrize("kind", ["elsewhere", "another repository", "link behind link"])
def test_links_that_lead_elsewhere_are_refused(snapshot, tmp_path, name, kind):
    link, content = snapshot / name, (snapshot / name).read_bytes()
    other = {
        "elsewhere": tmp_path / "secret",
        "another repository": tmp_path / "models--o--other" / "blobs" / "4567",
        "link behind link": tmp_path / "secret",
    }[kind]
    other.parent.mkdir(parents=True, exist_ok=True)
    other.write_bytes(content)
    link.unlink()
    if kind == "link behind link":
        behind = snapshot.parent.parent / "blobs" / "89ab"
        behind.symlink_to(other)
        other = behind
    link.symlink_to(other)
    with pytest.raises(onnx2jax.InvalidModelError, match=r"is a link to .*: it is not read"):
        onnx2jax.load(snapshot / "m.onnx")


def test_locations_out_of_the_folder_are_refused_there_too(snapshot, tmp_path):
    (tmp_path / "secret").write_bytes(b"\0" * 16)
    proto = onnx.load(snapshot / "m.onnx", load_external_data=False)
    (location,) = (e for e in proto.graph.initializer[0].external_data if e.key == "location")
    location.value = "../../../secret"
    (snapshot / "m.onnx").unlink()
    (snapshot / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(onnx2jax.InvalidModelError, match="cannot be read"):
        onnx2jax.load(snapshot / "m.onnx")


def test_too_long_a_read_is_refused_there_too(snapshot):
    proto = onnx.load(snapshot / "m.onnx", load_external_data=False)
    (length,) = (e for e in proto.graph.initializer[0].external_data if e.key == "length")
    length.value = "4096"
    (snapshot / "m.onnx").unlink()
    (snapshot / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(onnx2jax.InvalidModelError, match="cannot be read"):
        onnx2jax.load(snapshot / "m.onnx")

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnx2jax
from onnx2jax import reader
from onnx2jax.graph import TensorSpec

X = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
Y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", None])


def model(nodes, weights=(), outputs=(Y,), opset=18):
    body = helper.make_graph(list(nodes), "g", [X], list(outputs), list(weights))
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def test_specs_keep_names_types_and_unknown_dimensions():
    parsed = reader.parse(model([helper.make_node("Relu", ["x"], ["y"])]))
    assert parsed.inputs == (TensorSpec("x", np.dtype(np.float32), ("n", 4)),)
    assert parsed.outputs[0].shape == ("n", None)


def test_path_bytes_and_proto_are_read_alike(tmp_path):
    proto = model([helper.make_node("Relu", ["x"], ["y"])])
    path = tmp_path / "m.onnx"
    onnx.save(proto, path)
    assert reader.parse(path) == reader.parse(str(path)) == reader.parse(path.read_bytes())


def test_initializers_listed_as_inputs_are_no_inputs():
    """Files of IR 3 (MXNet, SFace) list every weight among the inputs."""
    w = numpy_helper.from_array(np.ones(4, np.float32), "w")
    proto = model([helper.make_node("Add", ["x", "w"], ["y"])], [w])
    proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [4]))
    assert [spec.name for spec in reader.parse(proto).inputs] == ["x"]


def test_weights_shared_through_identity_stay_one_parameter():
    w = numpy_helper.from_array(np.ones(4, np.float32), "w")
    nodes = [
        helper.make_node("Identity", ["w"], ["alias"]),
        helper.make_node("Add", ["x", "w"], ["a"]),
        helper.make_node("Mul", ["a", "alias"], ["y"]),
    ]
    m = onnx2jax.load(model(nodes, [w]))
    assert list(m.params) == ["w"]
    assert m({"w": 3 * np.ones(4, np.float32)}, np.ones((1, 4), np.float32)).tolist() == [[12] * 4]


def test_a_constant_of_another_type_than_its_attribute_says_is_invalid():
    node = helper.make_node("Constant", [], ["c"], value_int=3)
    node.attribute[0].type = onnx.AttributeProto.STRING
    nodes = [node, helper.make_node("Add", ["x", "c"], ["y"])]
    with pytest.raises(
        onnx2jax.InvalidModelError, match="Constant node 'c' has a broken value_int"
    ):
        reader.parse(model(nodes))


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        ({"value_float": 2.5}, np.float32(2.5)),
        ({"value_floats": [1.0, 2.0, 3.0, 4.0]}, np.float32([1, 2, 3, 4])),
        ({"value": numpy_helper.from_array(np.float32([[7]]), "t")}, np.float32([[7]])),
    ],
)
def test_constants_carry_their_value_in_several_attributes(attribute, expected):
    nodes = [
        helper.make_node("Constant", [], ["c"], **attribute),
        helper.make_node("Mul", ["x", "c"], ["y"]),
    ]
    m = onnx2jax.load(model(nodes))
    x = np.arange(4, dtype=np.float32)[None]
    np.testing.assert_array_equal(m(m.params, x), x * expected)


def test_external_data_are_read_beside_the_file(tmp_path):
    w = numpy_helper.from_array(np.arange(4, dtype=np.float32), "w")
    proto = model([helper.make_node("Add", ["x", "w"], ["y"])], [w])
    path = tmp_path / "m.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="m.data", size_threshold=0)
    m = onnx2jax.load(path)
    np.testing.assert_array_equal(m.params["w"], np.arange(4))
    (tmp_path / "m.data").unlink()
    with pytest.raises(onnx2jax.InvalidModelError, match="lack its external data"):
        onnx2jax.load(path)


def test_external_data_outside_the_folder_are_refused(tmp_path):
    (tmp_path / "secret").write_bytes(b"\0" * 16)
    folder = tmp_path / "model"
    folder.mkdir()
    w = numpy_helper.from_array(np.zeros(4, np.float32), "w")
    w.ClearField("raw_data")
    w.data_location = TensorProto.EXTERNAL
    entry = w.external_data.add()
    entry.key, entry.value = "location", "../secret"
    path = folder / "m.onnx"
    path.write_bytes(model([helper.make_node("Add", ["x", "w"], ["y"])], [w]).SerializeToString())
    with pytest.raises(onnx2jax.InvalidModelError, match="cannot be read"):
        onnx2jax.load(path)


@pytest.mark.parametrize("data", [b"", b"\0\1\2", b"not a model at all"])
def test_what_is_no_model_is_refused(data):
    with pytest.raises(onnx2jax.InvalidModelError):
        onnx2jax.load(data)


def test_every_truncation_is_refused_or_still_a_model():
    w = numpy_helper.from_array(np.ones(4, np.float32), "w")
    data = model([helper.make_node("Add", ["x", "w"], ["y"])], [w]).SerializeToString()
    refused = 0
    for length in range(len(data)):
        try:
            onnx2jax.load(data[:length])
        except onnx2jax.OnnxError:
            refused += 1
    assert refused >= 0.9 * len(data)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(onnx2jax.InvalidModelError, match=r"no such file: .*nothing\.onnx"):
        onnx2jax.load(tmp_path / "nothing.onnx")


def test_cycles_are_refused():
    nodes = [
        helper.make_node("Add", ["x", "b"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Relu", ["b"], ["y"]),
    ]
    with pytest.raises(onnx2jax.InvalidModelError, match=r"reads \['b'\].*cyclic"):
        onnx2jax.load(model(nodes))


def test_a_name_is_produced_once():
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Abs", ["x"], ["y"])]
    with pytest.raises(onnx2jax.InvalidModelError, match=r"\['y'\], which exist already"):
        onnx2jax.load(model(nodes))


def test_local_functions_are_inlined():
    twice = helper.make_function(
        "local",
        "Twice",
        ["a"],
        ["b"],
        [helper.make_node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 18)],
    )
    body = helper.make_graph(
        [helper.make_node("Twice", ["x"], ["y"], domain="local")], "g", [X], [Y]
    )
    proto = helper.make_model(
        body,
        functions=[twice],
        ir_version=8,
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("local", 1)],
    )
    m = onnx2jax.load(proto)
    assert m(m.params, np.ones((1, 4), np.float32)).tolist() == [[2] * 4]

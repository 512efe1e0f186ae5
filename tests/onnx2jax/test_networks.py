"""Whole networks: outputs equal to onnxruntime's, node by node, at batch 1 and more."""

import jax
import numpy as np
import onnx
import pytest

import networks
import onnx2jax
import single
from onnx2jax.check import _our_values as our_values
from onnx2jax.check import _their_values as their_values
from tolerances import assert_close, cosine_gap

TOLERANCE = 1e-4  # of the largest output
REAL = (
    "mobilefacenet.onnx",
    "face_recognition_sface_2021dec.onnx",
    "face_detection_yunet_2023mar.onnx",
)


def onnxruntime_outputs(proto, *inputs, fused=True):
    session = single.session(proto, fused)
    names = [i.name for i in session.get_inputs()]
    return session.run(None, dict(zip(names, inputs, strict=False)))


def images(batch, size=112, scale=1.0, seed=0):
    x = np.random.default_rng(seed).random((batch, 3, size, size), dtype=np.float32)
    return x * np.float32(scale)


@pytest.mark.parametrize("name", REAL)
def test_real_models_equal_onnxruntime_at_every_node(model_file, name):
    """On pixel values of the range that each was trained on; elsewhere SFace is ill-conditioned."""
    (spec, *_) = onnx2jax.load(model_file(name)).inputs
    x = images(1, spec.shape[-1], 1.0 if name == "mobilefacenet.onnx" else 255.0)
    report = onnx2jax.check(model_file(name), {spec.name: x}, tolerance=TOLERANCE)
    assert report.divergence is None
    assert report.nodes > 80


@pytest.mark.parametrize("name", REAL)
def test_a_fixed_batch_runs_at_any_batch(model_file, name):
    """The files fix the batch to 1; YuNet does so in its Reshape constants too."""
    proto = onnx.load(model_file(name))
    model = onnx2jax.load(proto)
    size = model.inputs[0].shape[-1]
    x = images(3, size, 255.0)
    batched = jax.tree.leaves(jax.jit(model)(model.params, x))
    singles = [onnxruntime_outputs(proto, x[i : i + 1]) for i in range(3)]
    assert len(batched) == len(model.outputs)
    for k, output in enumerate(batched):
        theirs = np.concatenate([single[k] for single in singles])
        assert_close(output, theirs, relative=1e-3 if "obj" in model.outputs[k].name else 2e-4)


def test_dlib_equals_onnxruntime(dlib_proto):
    model = onnx2jax.load(dlib_proto)
    x = images(3, 150, 255.0)
    (theirs,) = onnxruntime_outputs(dlib_proto, x)
    assert_close(jax.jit(model)(model.params, x), theirs, relative=1e-5)


@pytest.mark.parametrize("opset", [11, 18])
@pytest.mark.parametrize(
    ("build", "keywords"),
    [
        (networks.iresnet, {"layers": (2, 2, 2, 2)}),
        (networks.iresnet, {"layers": (3, 4, 14, 3)}),
        (networks.mobilefacenet, {}),
    ],
    ids=["iresnet18", "iresnet50", "mobilefacenet"],
)
def test_face_networks_equal_onnxruntime(build, keywords, opset):
    proto = build(**keywords, opset=opset)
    model = onnx2jax.load(proto)
    x = images(2)
    (theirs,) = onnxruntime_outputs(proto, x)
    assert_close(jax.jit(model)(model.params, x), theirs, relative=TOLERANCE)


def test_a_fixed_batch_of_two_takes_multiples_of_two_only():
    proto = networks.mobilefacenet(batch=2)
    model = onnx2jax.load(proto)
    x = images(4)
    theirs = np.concatenate([onnxruntime_outputs(proto, part)[0] for part in (x[:2], x[2:])])
    assert_close(jax.jit(model)(model.params, x), theirs, relative=TOLERANCE)
    with pytest.raises(onnx2jax.InputError, match="the batch is 3; it must be one multiple of 2"):
        model(model.params, x[:3])


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "dynamo", "opset"),
    [  # every exporter, and every network; the other combinations too with `-m slow`
        ("iresnet18", False, 11),
        pytest.param("iresnet18", True, 18, marks=SLOW),
        pytest.param("iresnet18", True, 20, marks=SLOW),
        pytest.param("iresnet50", False, 11, marks=SLOW),
        pytest.param("iresnet50", True, 18, marks=SLOW),
        pytest.param("iresnet50", True, 20, marks=SLOW),
        pytest.param("mobilefacenet", False, 11, marks=SLOW),
        ("mobilefacenet", True, 18),
        pytest.param("mobilefacenet", True, 20, marks=SLOW),
    ],
)
def test_pytorch_exports_equal_pytorch(name, dynamo, opset):
    torch = pytest.importorskip("torch", reason="PyTorch is an oracle of the bench extra")
    if dynamo:
        pytest.importorskip("onnxscript", reason="PyTorch's new exporter needs onnxscript")
    import torch_networks

    modules = {
        "iresnet18": lambda: torch_networks.IResNet((2, 2, 2, 2)),
        "iresnet50": lambda: torch_networks.IResNet((3, 4, 14, 3)),
        "mobilefacenet": torch_networks.MobileFaceNet,
    }
    torch.manual_seed(0)
    module = torch_networks.randomized(modules[name]())
    model = onnx2jax.load(torch_networks.export(module, opset=opset, dynamo=dynamo))
    x = images(3)
    with torch.no_grad():
        theirs = module(torch.from_numpy(x)).numpy()
    assert_close(jax.jit(model)(model.params, x), theirs, relative=TOLERANCE)


@pytest.mark.parametrize(
    ("name", "dynamo", "opset"),
    [
        ("AdaFace", False, 14),
        pytest.param("AdaFace", True, 20, marks=SLOW),
        ("VisionTransformer", False, 14),
        pytest.param("VisionTransformer", True, 20, marks=SLOW),
        pytest.param("Swin", False, 14, marks=SLOW),
        ("Swin", True, 20),
        pytest.param("EdgeFace", False, 14, marks=SLOW),
        ("EdgeFace", True, 20),
    ],
)
def test_other_families_equal_onnxruntime(name, dynamo, opset):
    torch = pytest.importorskip("torch", reason="PyTorch is an oracle of the bench extra")
    if dynamo:
        pytest.importorskip("onnxscript", reason="PyTorch's new exporter needs onnxscript")
    import torch_networks

    torch.manual_seed(0)
    module = torch_networks.randomized(getattr(torch_networks, name)())
    proto = torch_networks.export(module, opset=opset, dynamo=dynamo)
    model = onnx2jax.load(proto)
    for batch in (1, 8):
        x = images(batch)
        found = jax.tree.leaves(jax.jit(model)(model.params, x))
        for ours, theirs in zip(found, onnxruntime_outputs(proto, x), strict=True):
            assert_close(ours, theirs, relative=TOLERANCE)


@pytest.mark.parametrize("form", ["QDQ", pytest.param("QOperator", marks=SLOW)])
def test_a_quantised_mobilefacenet_follows_onnxruntimes(form, model_file, tmp_path):
    """To the integer, until a sum that is nearly a half rounds the other way; that spreads."""
    quantization = pytest.importorskip("onnxruntime.quantization")

    source, target = model_file("mobilefacenet.onnx"), tmp_path / "int8.onnx"
    (name,) = (spec.name for spec in onnx2jax.load(source).inputs)

    class Reader(quantization.CalibrationDataReader):
        left = [{name: images(1, seed=i)} for i in range(4)]  # noqa: RUF012

        def get_next(self):
            return self.left.pop() if self.left else None

    quantization.quantize_static(
        source,
        target,
        Reader(),
        quant_format=quantization.QuantFormat[form],
        weight_type=quantization.QuantType.QInt8,
        activation_type=quantization.QuantType.QUInt8,
        reduce_range=True,  # or onnxruntime's own sums of products saturate on AVX2
    )
    proto = onnx.load(target)
    model, x = onnx2jax.load(proto), images(1, seed=9)
    (theirs,) = onnxruntime_outputs(proto, x, fused=False)
    assert any(value.dtype == np.int8 for value in model.params.values())
    ours = np.asarray(jax.jit(model)(model.params, x))
    assert cosine_gap(ours, theirs) < 3e-3
    kinds = ("QuantizeLinear", "QLinearConv", "QLinearAdd")
    quantised = [node.outputs[0] for node in model.graph.nodes if node.op in kinds][:10]
    mine, theirs = our_values(model, {name: x}), their_values(proto, quantised, {name: x})
    for value in quantised:
        np.testing.assert_array_equal(mine[value], theirs[value])


def test_external_data_lies_beside_the_file(tmp_path):
    proto = networks.iresnet((1, 1, 1, 1), width=16, dimension=64)
    whole = onnx2jax.load(proto)
    path = tmp_path / "face.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="face.data", size_threshold=0)
    apart = onnx2jax.load(path)
    assert path.stat().st_size < 20_000
    x = images(1)
    np.testing.assert_array_equal(apart(apart.params, x), whole(whole.params, x))

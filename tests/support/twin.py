"""One small convolutional recognizer, written in JAX, as an ONNX graph and in PyTorch."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import fggb_jax as fx

SIZE, N, T = (12, 10), 7, 0.3
CARD = fx.Card("twin", size=SIZE, mean=(0.5,) * 3, std=(0.5,) * 3, threshold=T)

_rng = np.random.default_rng(0)
_SHAPES = {"k1": (6, 3, 3, 3), "k2": (8, 6, 3, 3), "w": (N, 72), "b": (N,)}
PARAMS = {
    name: _rng.normal(0, np.prod(shape[1:]) ** -0.5, shape).astype(np.float32)
    for name, shape in _SHAPES.items()
}


def _conv(x, kernel):
    return jax.lax.conv_general_dilated(x[None], kernel, (2, 2), [(1, 1), (1, 1)])[0]


def network(params, x):
    for stage in network.stages:
        x = stage(params, x)
    return x


network.stages = (
    lambda p, x: jnp.tanh(_conv(x, p["k1"])),
    lambda p, x: jax.nn.relu(_conv(x, p["k2"])),
    lambda p, x: p["w"] @ x.reshape(-1) + p["b"],
)


@cache
def model():
    return fx.FaceModel(network, jax.tree.map(jnp.asarray, PARAMS), CARD)


def proto():
    """The same as ONNX; its feature maps are c1, t1, c2 and r2."""
    conv = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4}
    nodes = [
        helper.make_node("Conv", ["x", "k1"], ["c1"], **conv),
        helper.make_node("Tanh", ["c1"], ["t1"]),
        helper.make_node("Conv", ["t1", "k2"], ["c2"], **conv),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("Flatten", ["r2"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["z"], transB=1),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, *SIZE])]
    outputs = [helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, N])]
    weights = [numpy_helper.from_array(value, name) for name, value in PARAMS.items()]
    graph = helper.make_graph(nodes, "twin", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@cache
def onnx_model():
    onnx.checker.check_model(proto())
    return fx.load_model(proto(), card=CARD)


def pair(seed=1):
    return np.random.default_rng(seed).random((2, *SIZE, 3), dtype=np.float32)


def torch_modules():
    """(the network's layers, images (B, 3, H, W) in [0, 1] → embeddings), in PyTorch."""
    import torch
    from torch import nn

    layers = nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1, bias=False),
        nn.Tanh(),
        nn.Conv2d(6, 8, 3, 2, 1, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(72, N),
    )
    for parameter, value in zip(layers.parameters(), PARAMS.values(), strict=True):
        parameter.data = torch.tensor(value)
    return layers, lambda x: layers((x - 0.5) / 0.5)


def torch_cosine(image, partner):
    """(layers, x → its cosine to the partner, the image as x), for captum."""
    import torch

    layers, embed = torch_modules()
    x, other = (torch.tensor(face.transpose(2, 0, 1))[None] for face in (image, partner))
    target = embed(other).detach()
    cosine = lambda x: torch.nn.functional.cosine_similarity(embed(x), target)  # noqa: E731
    return layers, cosine, x


def from_torch(attribution):
    """(1, C, H, W) of PyTorch as (H, W, C)."""
    return attribution.detach().numpy()[0].transpose(1, 2, 0)

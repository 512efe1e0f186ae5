"""An independent PyTorch reference: an executor of ONNX graphs, and FGGB as the plain loop.

It reads the file's protos by itself and shares no code with onnx2jax or fggb_jax, so that an error
there cannot cancel out here. It knows the operators of the three recognizers that can be had,
dlib's ResNet (as dlib2onnx emits it), MobileFaceNet and SFace, and of `built.py`. `fold.py` and
`torch_ways.py` make it as fast as PyTorch allows. To run it against onnxruntime:

    python benchmarks/torch_reference.py MODEL.onnx

Written from the formula (Lu, Xu, Ebrahimi, arXiv 2403.04549):

    w_k = F_A^k F_B^k / (‖F_A‖ ‖F_B‖)    P = Σ_k Ĝ^k w_k    Q = Σ_k Ĝ^k / N    S(t) = P − t·Q
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch.nn import functional as F

Tensor = torch.Tensor


def _pads(attributes: Mapping[str, Any]) -> list[int]:
    """ONNX's (top, left, bottom, right); nothing here uses auto_pad."""
    if attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise NotImplementedError("auto_pad")
    return list(attributes.get("pads", (0, 0, 0, 0)))


def _conv(a, x, weight, bias=None):
    top, left, bottom, right = _pads(a)
    padding = top, left
    if (top, left) != (bottom, right):
        x, padding = F.pad(x, (left, right, top, bottom)), (0, 0)
    stride, dilation = a.get("strides", (1, 1)), a.get("dilations", (1, 1))
    return F.conv2d(x, weight, bias, tuple(stride), padding, tuple(dilation), a.get("group", 1))


def _batch_norm(a, x, scale, bias, mean, variance):
    return F.batch_norm(x, mean, variance, scale, bias, training=False, eps=a.get("epsilon", 1e-5))


def _prelu(a, x, slope):
    # Backward this is one product; F.prelu computes the slope's gradient too, wanted or not.
    return x * torch.where(x < 0, slope, torch.ones_like(slope)).detach()


def _clip(a, x, low=None, high=None):
    return torch.clamp(x, *a.get("bounds", (low, high)))


def _max_pool(a, x):
    if any(_pads(a)) or a.get("ceil_mode", 0) or set(a.get("dilations", (1,))) != {1}:
        raise NotImplementedError("MaxPool with padding, ceil_mode or dilations")
    return F.max_pool2d(x, tuple(a["kernel_shape"]), tuple(a.get("strides", (1, 1))))


def _average_pool(a, x):
    if any(_pads(a)) or a.get("ceil_mode", 0):
        raise NotImplementedError("AveragePool with padding or ceil_mode")
    return F.avg_pool2d(x, tuple(a["kernel_shape"]), tuple(a.get("strides", (1, 1))))


def _pad(a, x, pads, value=None):
    if a.get("mode", b"constant") != b"constant":
        raise NotImplementedError("Pad that is not constant")
    before, after = pads[: len(pads) // 2], pads[len(pads) // 2 :]
    # torch wants (before, after) from the last axis to the first.
    flat = [n for pair in zip(before[::-1], after[::-1], strict=True) for n in pair]
    return F.pad(x, flat, value=0.0 if value is None else float(value))


def _reshape(a, x, shape):
    sizes = [x.shape[i] if n == 0 else n for i, n in enumerate(shape)]
    return x.reshape(sizes)


def _gemm(a, x, weight, bias=None):
    x = x.T if a.get("transA", 0) else x
    weight = weight.T if a.get("transB", 0) else weight
    y = a.get("alpha", 1.0) * (x @ weight)
    return y if bias is None else y + a.get("beta", 1.0) * bias


OPERATORS: dict[str, Callable[..., Any]] = {
    "Add": lambda a, x, y: x + y,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Concat": lambda a, *shapes: [n for shape in shapes for n in shape],
    "Conv": _conv,
    "Dropout": lambda a, x, *_: x,  # inference
    "Flatten": lambda a, x: x.flatten(a.get("axis", 1)),
    "Gather": lambda a, shape, i: shape[i],
    "Gemm": _gemm,
    "GlobalAveragePool": lambda a, x: x.mean((2, 3), keepdim=True),
    "Identity": lambda a, x: x,
    "MatMul": lambda a, x, y: x @ y,
    "MaxPool": _max_pool,
    "Mul": lambda a, x, y: x * y,
    "PRelu": _prelu,
    "Pad": _pad,
    "Relu": lambda a, x: torch.relu(x),
    "Reshape": _reshape,
    "Shape": lambda a, x: list(x.shape),
    "Sub": lambda a, x, y: x - y,
    "Unsqueeze": lambda a, n, *axes: [n],
}


class TorchNet:
    """An ONNX graph in PyTorch: `net(x)`, x (B, …), gives the first output.

    Shapes, and all else that is made of integers, are numbers and lists of Python.

    Args:
        proto: the network.
        dtype: of all floating tensors, torch.float32 or torch.float64.
        memory_format: of the weights and the input; PyTorch's convolutions keep it.
        device: of all tensors.

    Attributes:
        dtype: as given.
        nodes: (operator, attributes, input names, output name).
    """

    def __init__(
        self,
        proto: onnx.ModelProto,
        dtype: torch.dtype = torch.float32,
        memory_format: torch.memory_format = torch.contiguous_format,
        device: str = "cpu",
    ) -> None:
        self.dtype = dtype
        self.memory_format = memory_format
        self.device = device
        graph = proto.graph
        self.constants = {i.name: self._constant(i) for i in graph.initializer}
        # Files of IR 3 list their weights among the inputs.
        (self.input,) = (i.name for i in graph.input if i.name not in self.constants)
        self.output = graph.output[0].name
        self.nodes = [self._node(n) for n in graph.node if not self._is_constant(n)]

    def _constant(self, proto: onnx.TensorProto) -> Any:
        tensor = torch.from_numpy(numpy_helper.to_array(proto).copy())
        if not tensor.is_floating_point():
            return tensor.tolist()
        return self._laid_out(tensor.to(self.device, self.dtype))

    def _laid_out(self, x: Tensor) -> Tensor:
        return x.contiguous(memory_format=self.memory_format) if x.ndim == 4 else x

    def _is_constant(self, node: onnx.NodeProto) -> bool:
        if node.op_type == "Constant":
            self.constants[node.output[0]] = self._constant(node.attribute[0].t)
        return node.op_type == "Constant"

    def _node(self, node: onnx.NodeProto) -> tuple[str, dict[str, Any], list[str], str]:
        if node.op_type not in OPERATORS:
            raise NotImplementedError(f"{node.op_type} is not among {sorted(OPERATORS)}")
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Clip":  # by numbers, whose pullback is one kernel
            bounds = (self.constants.get(name) for name in node.input[1:])
            attributes["bounds"] = [None if b is None else b.item() for b in bounds]
        return node.op_type, attributes, list(node.input), node.output[0]

    def __call__(self, x: Tensor, kinks: "Kinks | None" = None) -> Tensor:
        """Run the graph, `kinks` recording or deciding the branches of its gradient."""
        values: dict[str, Any] = {"": None, **self.constants, self.input: self._laid_out(x)}
        for op, attributes, names, output in self.nodes:
            inputs = [values[name] for name in names]
            if kinks is not None and op in KINKS:
                values[output] = kinks.run(op, attributes, inputs)
            else:
                values[output] = OPERATORS[op](attributes, *inputs)
        return values[self.output]


KINKS = ("Relu", "PRelu", "Clip", "MaxPool")


def kink_mask(op: str, attributes: Mapping[str, Any], inputs: list[Any]) -> Tensor:
    """Where the gradient's branch is chosen: signs, clipping, or the place of a maximum."""
    x = inputs[0]
    if op == "Clip":
        return (x > inputs[1]).to(torch.int8) + (x > inputs[2])
    if op == "MaxPool":
        kernel, stride = attributes["kernel_shape"], attributes["strides"]
        return F.max_pool2d(x, tuple(kernel), tuple(stride), return_indices=True)[1]
    return x > 0


def on_branch(op: str, inputs: list[Any], mask: Tensor) -> Tensor:
    """An operator whose branches are given, whatever the signs of its input are."""
    x = inputs[0]
    if op == "MaxPool":
        return x.flatten(2).gather(2, mask.flatten(2)).reshape(mask.shape)
    if op == "Clip":
        return torch.where(mask == 1, x, torch.where(mask == 0, inputs[1], inputs[2]))
    return torch.where(mask, x, inputs[1] * x if op == "PRelu" else 0 * x)


class Kinks:
    """The branches that a run takes at its kinks, in order: recorded, or given beforehand.

    The gradient of such a network is that of a smooth function once its branches are fixed. So a
    float64 run on the branches of a float32 run tells rounding from an activation that flipped.
    """

    def __init__(self, masks: list[Tensor] | None = None) -> None:
        self.given = masks is not None
        self.masks = masks or []
        self.position = 0

    def run(self, op: str, attributes: Mapping[str, Any], inputs: list[Any]) -> Tensor:
        if not self.given:
            self.masks.append(kink_mask(op, attributes, inputs))
            return OPERATORS[op](attributes, *inputs)
        self.position += 1
        return on_branch(op, inputs, self.masks[self.position - 1])


def batch_embedder(
    proto: onnx.ModelProto,
    card: Mapping[str, Any],
    dtype: torch.dtype = torch.float32,
    memory_format: torch.memory_format = torch.contiguous_format,
    device: str = "cpu",
) -> Callable[..., Tensor]:
    """Embeddings (B, N) as a function of aligned RGB faces (B, H, W, 3) in [0, 1].

    Args:
        proto: the network.
        card: `color`, `layout`, `range`, `mean` and `std`, as a mapping.
        dtype: of the computation.
        memory_format: see `TorchNet`.
        device: of all tensors.
    """
    net = TorchNet(proto, dtype, memory_format, device)
    mean, std = (torch.tensor(card[key], dtype=dtype, device=device) for key in ("mean", "std"))

    def embed(images: Tensor, kinks: Kinks | None = None) -> Tensor:
        channels = images.flip(-1) if card["color"] == "BGR" else images
        x = (channels * card["range"] - mean) / std
        return net(x.permute(0, 3, 1, 2) if card["layout"] == "CHW" else x, kinks)

    return embed


def embedder(proto: onnx.ModelProto, card: Mapping[str, Any], *options: Any) -> Callable[..., Any]:
    """The embedding (N,) as a function of one aligned RGB face (H, W, 3); see `batch_embedder`."""
    batched = batch_embedder(proto, card, *options)
    return lambda image, kinks=None: batched(image[None], kinks)[0]


def as_image(image: np.ndarray, dtype: torch.dtype = torch.float32) -> Tensor:
    """A uint8 face, or one in [0, 1], as a tensor in [0, 1].

    uint8 is divided in float32 whatever `dtype` is: all precisions explain the same image.
    """
    array = np.asarray(image)
    if array.dtype == np.uint8:
        array = array.astype(np.float32) / np.float32(255)
    return torch.from_numpy(array).to(dtype)


class Maps(NamedTuple):
    """P and Q of one image, (H, W) each, and S(t) = P − t·Q."""

    p: np.ndarray
    q: np.ndarray

    def signed(self, threshold: float) -> np.ndarray:
        return self.p - threshold * self.q


class Pair(NamedTuple):
    """The cosine of a pair, and the maps of its two images."""

    cosine: float
    a: Maps
    b: Maps


def forward(embed: Callable[..., Tensor], image: Tensor, embedding: str) -> tuple[Tensor, Tensor]:
    """A leaf of the autograd graph, and the embedding that depends on it."""
    x = image.detach().clone().requires_grad_(True)
    z = embed(x)
    return x, z / z.norm() if embedding == "normalized" else z


def channel_gradients(x: Tensor, z: Tensor) -> Iterator[Tensor]:
    """∂z_k/∂x for k = 0 … N−1: one backward pass each, the plain loop."""
    for k in range(len(z)):
        yield torch.autograd.grad(z[k], x, retain_graph=True)[0]


def normalized_map(gradient: Tensor, kind: str) -> Tensor:
    """Ĝ (H, W) of one channel's gradient (H, W, 3)."""
    if kind == "magnitude":
        image = gradient.abs().mean(-1)
        return image / image.norm()
    return (gradient / gradient.norm()).mean(-1)


def weights(z_a: Tensor, z_b: Tensor) -> Tensor:
    """The channel-wise cosine w, whose sum is the cosine."""
    return (z_a * z_b / (z_a.norm() * z_b.norm())).detach()


def fold(gradients: Iterator[Tensor] | Tensor, w: Tensor, kind: str) -> Maps:
    """P and Q from the channels' gradients."""
    p = q = 0
    for gradient, weight in zip(gradients, w, strict=True):
        g = normalized_map(gradient, kind)
        p, q = p + weight * g, q + g / len(w)
    return Maps(p.numpy(), q.numpy())


def fggb_loop(
    embed: Callable[..., Tensor],
    a: Tensor,
    b: Tensor,
    gradient: str = "magnitude",
    embedding: str = "raw",
) -> Pair:
    """FGGB of a pair by N backward passes an image.

    Args:
        embed: (H, W, 3) → (N,), see `embedder`.
        a: an aligned RGB face in [0, 1], of embed's dtype; see `as_image`.
        b: the other face.
        gradient: "magnitude" or "signed".
        embedding: "raw", or "normalized" to differentiate F/‖F‖.
    """
    (x_a, z_a), (x_b, z_b) = (forward(embed, image, embedding) for image in (a, b))
    w = weights(z_a, z_b)
    maps = [fold(channel_gradients(x, z), w, gradient) for x, z in ((x_a, z_a), (x_b, z_b))]
    return Pair(float(w.sum()), *maps)


def branches(embed: Callable[..., Tensor], image: Tensor) -> list[Tensor]:
    """The branches that a run takes, in order."""
    kinks = Kinks()
    with torch.no_grad():
        embed(image, kinks)
    return kinks.masks


def count_flips(first: list[Tensor], second: list[Tensor]) -> int:
    """How many branches differ between two runs, of two precisions say."""
    return sum(int((a != b).sum()) for a, b in zip(first, second, strict=True))


def main() -> None:
    """Compare the executor with onnxruntime on a random image."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="an .onnx file with one image input")
    proto = onnx.load(parser.parse_args().model)
    import onnxruntime

    session = onnxruntime.InferenceSession(proto.SerializeToString())
    spec = session.get_inputs()[0]
    shape = [n if isinstance(n, int) else 1 for n in spec.shape]
    x = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
    wanted = session.run(None, {spec.name: x})[0]
    for dtype in (torch.float32, torch.float64):
        with torch.no_grad():
            got = TorchNet(proto, dtype)(torch.from_numpy(x).to(dtype)).numpy()
        print(f"{dtype}: largest difference to onnxruntime {np.abs(got - wanted).max():.1e}")


if __name__ == "__main__":
    main()

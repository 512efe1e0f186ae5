"""The ways of PyTorch on a CPU to all channels' maps of a pair: the fastest is the one to beat.

`loop`, N backward passes an image with all cores at each; `2x1`, the same with an image for each of
two Python threads of one core; `vmap`, `torch.func.vmap` of a vjp over chunks of channels;
`batched`, `torch.autograd.grad` with `is_grads_batched`. Each in PyTorch's own memory format and,
where the name ends in `nhwc`, in channels_last. The network is folded first (`fold.py`).
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import onnx
import torch
import torch_reference as ref
from fold import fold

Tensor = torch.Tensor
Embed = Callable[[Tensor], Tensor]
Way = Callable[[Embed, list[Tensor], int | None], np.ndarray]
CHUNK = 16


def gradients_one_by_one(x: Tensor, z: Tensor, channels: int) -> Iterator[Tensor]:
    """(1, H, W, 3) a channel."""
    for k in range(channels):
        yield torch.autograd.grad(z[k], x, retain_graph=True)[0][None]


def gradients_batched(x: Tensor, z: Tensor, channels: int) -> Iterator[Tensor]:
    """(C, H, W, 3) a chunk of channels."""
    for seeds in one_hot(channels, z):
        keywords = {"is_grads_batched": True, "retain_graph": True}
        yield torch.autograd.grad(z, x, seeds, **keywords)[0]


def one_hot(channels: int, z: Tensor) -> tuple[Tensor, ...]:
    """The first cotangents, (C, N) a chunk."""
    return torch.eye(channels, len(z), dtype=z.dtype).split(CHUNK)


def maps(gradients: Iterable[Tensor], w: Tensor) -> np.ndarray:
    """P and Q, (2, H, W), of gradients that come in chunks; Q is Σ Ĝ ÷ len(w)."""
    rows = torch.stack([w, torch.full_like(w, 1 / len(w))])
    total, done = 0, 0
    for chunk in gradients:
        magnitude = chunk.detach().abs().mean(-1)
        normalized = magnitude / magnitude.flatten(1).norm(dim=1)[:, None, None]
        total = total + torch.tensordot(rows[:, done : done + len(chunk)], normalized, 1)
        done += len(chunk)
    return total.numpy()


def loop(
    embed: Embed, images: list[Tensor], channels: int | None, gradients: Any = gradients_one_by_one
) -> np.ndarray:
    """An image after the other."""
    torch.set_num_threads(os.cpu_count() or 1)
    faces = [ref.forward(embed, image, "raw") for image in images]
    w = ref.weights(faces[0][1], faces[1][1])[:channels]
    return np.concatenate([maps(gradients(*face, len(w)), w) for face in faces])


def two_threads(embed: Embed, images: list[Tensor], channels: int | None) -> np.ndarray:
    """An image for each of two threads."""
    torch.set_num_threads(1)
    with ThreadPoolExecutor(2) as pool:
        faces = list(pool.map(lambda image: ref.forward(embed, image, "raw"), images))
        w = ref.weights(faces[0][1], faces[1][1])[:channels]
        found = pool.map(lambda face: maps(gradients_one_by_one(*face, len(w)), w), faces)
        return np.concatenate(list(found))


def vmapped(embed: Embed, images: list[Tensor], channels: int | None) -> np.ndarray:
    """A functional vjp, vmapped over a chunk of cotangents."""
    torch.set_num_threads(os.cpu_count() or 1)
    (z_a, pull_a), (z_b, pull_b) = (torch.func.vjp(embed, image) for image in images)
    w = ref.weights(z_a, z_b)[:channels]

    def gradients(pull: Any) -> Iterator[Tensor]:
        return (torch.func.vmap(pull)(seeds)[0] for seeds in one_hot(len(w), z_a))

    return np.concatenate([maps(gradients(pull), w) for pull in (pull_a, pull_b)])


_WAYS: dict[str, Way] = {
    "loop": loop,
    "2x1": two_threads,
    "vmap": vmapped,
    "batched": partial(loop, gradients=gradients_batched),
}
_FORMATS = {"": torch.contiguous_format, " nhwc": torch.channels_last}
WAYS = tuple(name + suffix for name in _WAYS for suffix in _FORMATS)


def ways(
    proto: onnx.ModelProto,
    card: Mapping[str, Any],
    images: list[np.ndarray],
    dtype: torch.dtype = torch.float32,
) -> dict[str, Callable[[int | None], np.ndarray]]:
    """Each way as a function of how many channels, all where None → (P, Q, P, Q), (4, H, W).

    Args:
        proto: the network as its file has it.
        card: its preprocessing; see `torch_reference.embedder`.
        images: probe and gallery.
        dtype: of the computation.
    """
    folded = fold(proto)
    tensors = [ref.as_image(image, dtype) for image in images]
    found = {}
    for suffix, memory_format in _FORMATS.items():
        embed = ref.embedder(folded, card, dtype, memory_format)
        found |= {name + suffix: partial(way, embed, tensors) for name, way in _WAYS.items()}
    return {name: found[name] for name in WAYS}

"""What `parity.py` compares with: onnxruntime, dlib, and PyTorch's gradients of all channels."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np
import onnx
import onnxruntime
import torch
import torch_reference as ref
from common import model_file

import fggb_jax as fx
from onnx2jax.lowering.channels_last import channels_last

DTYPES = {"float32": torch.float32, "float64": torch.float64}


class Face(NamedTuple):
    """An embedding (N,) and its channels' gradients (N, H, W, 3)."""

    z: torch.Tensor
    gradients: torch.Tensor


class Oracle:
    """PyTorch's loop for one network.

    Attributes:
        model: ours, for its card.
        proto: the network as ONNX.
        images: aligned faces by name, uint8.
    """

    def __init__(
        self, model: fx.FaceModel, proto: onnx.ModelProto, images: dict[str, np.ndarray]
    ) -> None:
        self.model, self.proto, self.images = model, proto, images

    def embedder(self, dtype: str) -> Callable[..., torch.Tensor]:
        return ref.embedder(self.proto, self.model.card.to_dict(), DTYPES[dtype])

    def image(self, name: str, dtype: str) -> torch.Tensor:
        return ref.as_image(self.images[name], DTYPES[dtype])

    def branches(self, name: str, dtype: str) -> list[torch.Tensor]:
        return ref.branches(self.embedder(dtype), self.image(name, dtype))

    def faces(
        self,
        names: Sequence[str],
        dtype: str,
        embedding: str = "raw",
        branches: dict[str, list[torch.Tensor]] | None = None,
    ) -> dict[str, Face]:
        """Faces by name; two Python threads of one torch thread each: fast, and no spinning.

        Args:
            names: of the images.
            dtype: "float32" or "float64".
            embedding: "raw" or "normalized".
            branches: what each image's run takes at its kinks; its own where absent.
        """
        embed = self.embedder(dtype)

        def one(name: str) -> Face:
            given = None if branches is None else ref.Kinks(branches[name])
            x, z = ref.forward(lambda x: embed(x, given), self.image(name, dtype), embedding)
            return Face(z.detach(), torch.stack(list(ref.channel_gradients(x, z))))

        with ThreadPoolExecutor(2) as pool:
            return dict(zip(names, pool.map(one, names), strict=True))


def by_chain_rule(face: Face) -> Face:
    """The gradients of z/‖z‖ from those of z: (J − ẑ ẑᵀJ) / ‖z‖."""
    norm = face.z.norm()
    unit = face.z / norm
    along = torch.tensordot(unit, face.gradients, 1)
    return Face(unit, (face.gradients - unit[:, None, None, None] * along) / norm)


def first_channels(face: Face, count: int) -> Face:
    return Face(face.z[:count], face.gradients[:count])


def pair_maps(a: Face, b: Face, gradient: str) -> ref.Pair:
    """FGGB from the gradients of both images."""
    w = ref.weights(a.z, b.z)
    return ref.Pair(float(w.sum()), *(ref.fold(f.gradients, w, gradient) for f in (a, b)))


def our_branches(model: fx.FaceModel, image: np.ndarray) -> list[torch.Tensor]:
    """The branches of our own float32 program, as `ref.branches` gives PyTorch's.

    Returning every activation changes how XLA fuses, so a branch may differ from those of
    `fx.explain`'s program.
    """
    network = model.function.network
    nodes = [n for n in network.graph.nodes if n.op in ref.KINKS]

    @jax.jit
    def activations(params: Any, image: Any) -> Any:
        x = model.card.preprocess(image)[None]

        def inputs(given: dict[str, Any]) -> list[list[Any]]:
            values = {**network.constants, **given}
            network.interpreter.run(network.graph.nodes, values)
            return [[values[name] for name in node.inputs] for node in nodes]

        # As the network itself is run on a CPU: in another order sums round otherwise.
        return channels_last(inputs)({**params, network.inputs[0].name: x})

    inputs = activations(model.params, ref.as_image(image).numpy())
    tensors = [[torch.from_numpy(np.array(v)) for v in values] for values in inputs]
    return [ref.kink_mask(n.op, n.attributes, t) for n, t in zip(nodes, tensors, strict=True)]


def onnxruntime_embeddings(
    proto: onnx.ModelProto, card: fx.Card, images: np.ndarray
) -> list[np.ndarray]:
    """By onnxruntime, each image by itself; the preprocessing written once more."""
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 3  # SFace lists its weights as inputs: 174 warnings
    session = onnxruntime.InferenceSession(proto.SerializeToString(), quiet)
    entry, found = session.get_inputs()[0].name, []
    for image in images:
        channels = image[..., ::-1] if card.color == "BGR" else image
        x = (channels.astype(np.float32) / 255 * card.range - card.mean) / card.std
        x = x.transpose(2, 0, 1)[None].astype(np.float32)
        found.append(session.run(None, {entry: x})[0][0])
    return found


def dlib_embeddings(images: np.ndarray) -> list[np.ndarray]:
    """By dlib's own network on the same chips."""
    import dlib

    network = dlib.face_recognition_model_v1(str(model_file("dlib-resnet-v1")))
    return [np.array(network.compute_face_descriptor(chip)) for chip in images]

"""Grad-CAM: which places of a feature map the cosine rests on.

Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization", arXiv 1610.02391, ICCV 2017, with the cosine to the fixed other face in place of a
class's score. For a feature map A of K channels:

    a_k = mean over the places of ∂cos/∂A_k,   M = max(Σ_k a_k A_k, 0)

enlarged to the image, bilinearly.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

import onnx2jax
from fggb_jax.attribution.comparison import Comparison
from fggb_jax.attribution.registry import face_method
from fggb_jax.errors import ModelError, OptionError
from fggb_jax.models.face_model import FaceModel

NAMED = 8  # feature maps that an error names


class Features(NamedTuple):
    """A feature map on the way to an embedding.

    Attributes:
        values: (h, w, K).
        embed: values of that shape → the embedding (N,), the rest of the image's way unchanged.
    """

    values: Float[Array, "h w K"]
    embed: Callable[[Float[Array, "h w K"]], Float[Array, " N"]]


@face_method("gradcam", "Grad-CAM", signed=False)
def gradcam(c: Comparison, *, node: str | None = None) -> Float[Array, "H W"]:
    """The places of a feature map, each weighed by how the cosine grows with its channels; ≥ 0.

    Args:
        c: the image and what it is compared with.
        node: of a network converted from ONNX, an output of one of its nodes, (1, K, h, w). Where
            None the last one with more than one place. Of any other model the last of its stages'
            results that is (h, w, K) or (K, h, w), as the card's layout says, a leading 1 aside.

    Raises:
        ModelError: the model has no feature map.
        OptionError: no such node, or it is not a feature map.
    """
    found = _weighed(c.model, c.image, jnp.asarray(c.target), node=node)
    c.forwards += 1
    c.backwards += 1
    return found


@partial(jax.jit, static_argnames="node")
def _weighed(
    model: FaceModel, image: Array, target: Array, *, node: str | None
) -> Float[Array, "H W"]:
    network = getattr(model.function, "network", None)
    if isinstance(network, onnx2jax.Model):
        features = _of_network(model, network, image, node)
    else:
        features = _of_stages(model, image, node)

    def cosine(values: Array) -> Array:
        z = features.embed(values)
        return jnp.sum(z * target) / jnp.linalg.norm(z)

    weights = jax.grad(cosine)(features.values).mean((0, 1))
    places = jax.nn.relu(jnp.tensordot(features.values, weights, 1))
    return jax.image.resize(places, image.shape[:2], "bilinear")


# Of a network converted from ONNX, any node of which may be asked for


def _of_network(
    model: FaceModel, network: onnx2jax.Model, image: Array, node: str | None
) -> Features:
    """A node's output, and what the nodes behind it make of another."""
    nodes, entry = network.graph.nodes, network.inputs[0].name
    x = model.card.preprocess(image)[None]
    values: dict[str, Any] = {**network.constants, **model.params, entry: x}
    network.interpreter.run(nodes, values)
    name = _chosen(model, _spatial(network, values), node)
    behind = 1 + next(i for i, one in enumerate(nodes) if name in one.outputs)

    def embed(features: Array) -> Array:
        # What does not depend on the node, a shortcut around it say, is computed once: the
        # compiler sees that it is the same.
        later = {**values, name: features.transpose(2, 0, 1)[None]}
        network.interpreter.run(nodes[behind:], later)
        return later[network.outputs[0].name][0]

    return Features(values[name][0].transpose(1, 2, 0), embed)


def _spatial(network: onnx2jax.Model, values: dict[str, Any]) -> list[str]:
    """The names of the feature maps that depend on the image, in the graph's order."""
    reached, names = {spec.name for spec in network.inputs}, []
    for node in network.graph.nodes:
        if not reached.intersection(node.reads):
            continue
        reached.update(node.outputs)
        # What is transposed has its channels elsewhere: exporters do so before they flatten.
        if node.op != "Transpose":
            names += [name for name in node.outputs if name and _is_map(values[name])]
    return names


def _is_map(value: Any) -> bool:
    shape = getattr(value, "shape", ())
    floating = bool(shape) and jnp.issubdtype(value.dtype, jnp.floating)
    return floating and len(shape) == 4 and shape[0] == 1 and min(shape[2:]) > 1


def _chosen(model: FaceModel, names: list[str], node: str | None) -> str:
    if not names:
        raise ModelError(
            f"{model.card.name!r} has no feature map (1, K, h, w) that Grad-CAM could weigh; "
            "choose another method"
        )
    if node is None:
        return names[-1]
    if node not in names:
        raise OptionError(
            f"node is {node!r}, which is not a feature map of {model.card.name!r}; choose one of "
            f"{'… ' if len(names) > NAMED else ''}{', '.join(names[-NAMED:])}"
        )
    return node


# Of any other model, which may be cut between its stages


def _of_stages(model: FaceModel, image: Array, node: str | None) -> Features:
    """The last result of a stage that has places, and what the stages behind it make of another."""
    if node is not None:
        raise OptionError(
            f"node is {node!r}, and {model.card.name!r} has no named nodes, since it was not "
            "converted from ONNX; leave node out, which takes the last feature map between its "
            "stages"
        )
    first_axis = model.card.layout == "CHW"
    found, x = None, image
    for i, stage in enumerate(model.stages[:-1]):
        x = stage(model, x)
        single = x[0] if x.ndim == 4 and len(x) == 1 else x
        if single.ndim == 3 and min(single.shape[1:] if first_axis else single.shape[:2]) > 1:
            found = i, x.shape, single
    if found is None:
        raise ModelError(
            f"{model.card.name!r} has no stage whose result is a feature map, (h, w, K) or "
            "(K, h, w) as its card's layout says; give its function an attribute `stages`, "
            "functions (params, x) → x that compose to it (see `FaceModel.stages`), or choose "
            "another method"
        )
    last, shape, single = found

    def embed(values: Array) -> Array:
        x = (values.transpose(2, 0, 1) if first_axis else values).reshape(shape)
        for stage in model.stages[last + 1 :]:
            x = stage(model, x)
        return x

    return Features(single.transpose(1, 2, 0) if first_axis else single, embed)

"""Normalizations folded into the convolutions and products beside them, as any deployment does.

`fold(proto)` gives an equivalent ONNX network for the PyTorch side of the benchmarks: a gradient
that is pulled back through it passes no BatchNormalization. It shares no code with onnx2jax.

A normalization y = s·x + b, channel by channel, goes

    behind a convolution or Gemm:  W ← s·W, bias ← s·bias + b
    before one:                    W ← W·s, and x + b/s stays: an addition costs a gradient nothing,
                                   and b within the bias would be wrong at a padded border

Sub, Mul, Add and Div by one constant a channel, such as a preprocessing, are normalizations too.
"""

from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

TRANSPARENT = ("Dropout", "Identity", "Flatten")  # they change no number


class Affine(NamedTuple):
    """scale·x + shift, in float64, (C,) or (1,) each."""

    scale: np.ndarray
    shift: np.ndarray


def fold(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The same network with its normalizations folded away where they can be."""
    graph = _Graph(proto)
    while any(graph.fold_one(node) for node in graph.nodes):
        pass
    return graph.proto()


class _Graph:
    def __init__(self, proto: onnx.ModelProto) -> None:
        self.source = onnx.ModelProto()
        self.source.CopyFrom(proto)
        graph = self.source.graph
        self.outputs = {o.name for o in graph.output}
        self.constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
        self.constants |= {
            n.output[0]: numpy_helper.to_array(n.attribute[0].t)
            for n in graph.node
            if n.op_type == "Constant"
        }
        self.nodes = [n for n in graph.node if n.op_type != "Constant"]

    def proto(self) -> onnx.ModelProto:
        used = {name for node in self.nodes for name in node.input}
        found = onnx.ModelProto()
        found.CopyFrom(self.source)
        graph = found.graph
        inputs = [i for i in graph.input if i.name not in self.constants]  # IR 3 lists weights too
        del graph.node[:], graph.initializer[:], graph.input[:], graph.value_info[:]
        graph.node.extend(self.nodes)
        graph.input.extend(inputs)
        graph.initializer.extend(
            numpy_helper.from_array(value, name)
            for name, value in self.constants.items()
            if name in used
        )
        return found

    def fold_one(self, node: NodeProto) -> bool:
        """Fold a node away where it is a normalization that can be."""
        affine = self._affine(node)
        return affine is not None and (self._behind(node, affine) or self._before(node, affine))

    def _affine(self, node: NodeProto) -> Affine | None:
        """What a node does to its first input, where that is an affine map of each channel."""
        if not node.input or not all(name in self.constants for name in node.input[1:]):
            return None
        constants = [self.constants[name].astype(np.float64) for name in node.input[1:]]
        if node.op_type == "BatchNormalization":
            gamma, beta, mean, variance = constants
            scale = gamma / np.sqrt(variance + _attributes(node).get("epsilon", 1e-5))
            return Affine(scale, beta - mean * scale)
        if node.op_type not in ("Add", "Sub", "Mul", "Div") or not _a_number_a_channel(
            constants[0]
        ):
            return None
        c = constants[0].ravel()
        if node.op_type in ("Add", "Sub"):
            return Affine(np.ones_like(c), c if node.op_type == "Add" else -c)
        return Affine(c if node.op_type == "Mul" else 1 / c, np.zeros_like(c))

    def _behind(self, node: NodeProto, affine: Affine) -> bool:
        """Into the convolution or Gemm whose result only this node reads."""
        product = next((n for n in self.nodes if node.input[0] in n.output), None)
        if product is None or self._only_reader(product.output[0]) is None:
            return False
        if not self._is_product(product) or product.op_type == "MatMul":  # which has no bias
            return False
        weight, *bias = (self.constants[name].astype(np.float64) for name in product.input[1:])
        axis = 0 if product.op_type == "Conv" or _attributes(product).get("transB") else 1
        self._set(product, 1, weight * _along(affine.scale, axis, weight.ndim))
        old = bias[0] if bias else np.zeros(weight.shape[axis])
        self._set(product, 2, old * affine.scale + affine.shift)
        product.output[0] = node.output[0]
        self.nodes.remove(node)
        return True

    def _before(self, node: NodeProto, affine: Affine) -> bool:
        """Its scale into the one convolution or product that reads it; its shift stays, as Add."""
        product = self._only_reader(node.output[0])
        while product is not None and product.op_type in TRANSPARENT:
            product = self._only_reader(product.output[0])
        if product is None or not self._is_product(product):
            return False
        if np.all(affine.scale == 1) or np.any(affine.scale == 0):
            return False
        weight = self.constants[product.input[1]].astype(np.float64)
        self._set(product, 1, _scaled_inputs(product, weight, affine.scale))
        left = helper.make_node("Identity", node.input[:1], node.output)
        if np.any(affine.shift):
            left.op_type = "Add"
            self._set(left, 1, _along(affine.shift / affine.scale, 0, 3))
        self.nodes[self.nodes.index(node)] = left
        return True

    def _only_reader(self, name: str) -> NodeProto | None:
        """The node that alone reads a value."""
        readers = [n for n in self.nodes if name in n.input]
        alone = len(readers) == 1 and name not in self.outputs and readers[0].input[0] == name
        return readers[0] if alone else None

    def _is_product(self, node: NodeProto) -> bool:
        """Whether a node multiplies its first input by constant weights, and no more."""
        attributes = _attributes(node)
        return (
            node.op_type in ("Conv", "Gemm", "MatMul")
            and not attributes.get("transA")
            and attributes.get("alpha", 1) == attributes.get("beta", 1) == 1
            and all(name in self.constants for name in node.input[1:])
        )

    def _set(self, node: NodeProto, place: int, value: np.ndarray) -> None:
        """Give a node a constant of its own: another node may share the old one."""
        name = f"folded.{len(self.constants)}"
        self.constants[name] = value.astype(np.float32)
        del node.input[place : place + 1]
        node.input.insert(place, name)


def _a_number_a_channel(constant: np.ndarray) -> bool:
    return constant.size == 1 or constant.shape[-3:] == (constant.size, 1, 1)


def _along(vector: np.ndarray, axis: int, ndim: int) -> np.ndarray:
    """A vector along one axis of `ndim`."""
    return vector.reshape([-1 if i == axis else 1 for i in range(ndim)])


def _scaled_inputs(product: NodeProto, weight: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The weights for an input that was not multiplied by `scale`."""
    if product.op_type == "Conv":
        groups = _attributes(product).get("group", 1)
        each = np.broadcast_to(scale, groups * weight.shape[1]).reshape(groups, 1, -1, 1, 1)
        return (weight.reshape(groups, -1, *weight.shape[1:]) * each).reshape(weight.shape)
    axis = 1 if _attributes(product).get("transB") else 0
    # A channel of several pixels was flattened to as many inputs.
    return weight * _along(np.repeat(scale, weight.shape[axis] // len(scale)), axis, 2)


def _attributes(node: NodeProto) -> dict[str, Any]:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}

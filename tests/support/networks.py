"""Face networks as ONNX graphs, built node by node as PyTorch exports them, random weights."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Builder:
    """Adds nodes to a graph and hands out names."""

    def __init__(self, seed=0):
        self.nodes, self.weights = [], []
        self.rng = np.random.default_rng(seed)

    def node(self, op, *inputs, **attributes):
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def weight(self, array):
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def conv(self, x, inputs, outputs, kernel, stride=1, pad=None, group=1, bias=False):
        pad = kernel // 2 if pad is None else pad
        fan = inputs // group * kernel * kernel
        shape = (outputs, inputs // group, kernel, kernel)
        weights = [self.weight(self.rng.normal(0, fan**-0.5, shape).astype(np.float32))]
        if bias:
            weights.append(self.weight(self.rng.normal(0, 0.1, outputs).astype(np.float32)))
        return self.node(
            "Conv",
            x,
            *weights,
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[pad] * 4,
            dilations=[1, 1],
            group=group,
        )

    def batch_norm(self, x, channels):
        draws = [
            self.rng.uniform(0.5, 1.5, channels),
            self.rng.normal(0, 0.2, channels),
            self.rng.normal(0, 0.2, channels),
            self.rng.uniform(0.5, 1.5, channels),
        ]
        weights = [self.weight(d.astype(np.float32)) for d in draws]
        return self.node("BatchNormalization", x, *weights, epsilon=1e-5, momentum=0.9)

    def prelu(self, x, channels):
        slope = self.rng.uniform(0.1, 0.4, (channels, 1, 1)).astype(np.float32)
        return self.node("PRelu", x, self.weight(slope))

    def dense(self, x, inputs, outputs):
        w = self.rng.normal(0, inputs**-0.5, (outputs, inputs)).astype(np.float32)
        b = self.rng.normal(0, 0.1, outputs).astype(np.float32)
        return self.node("Gemm", x, self.weight(w), self.weight(b), transB=1)

    def model(self, output, opset, batch="batch", dimension=512):
        x = helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, 3, 112, 112])
        y = helper.make_tensor_value_info(output, TensorProto.FLOAT, [batch, dimension])
        graph = helper.make_graph(self.nodes, "face", [x], [y], self.weights)
        ir = {11: 6}.get(opset, 8)
        proto = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir
        )
        onnx.checker.check_model(proto)
        return proto


def iresnet(layers, *, opset=18, batch="batch", width=64, dimension=512, seed=0):
    """insightface's IResNet: (2, 2, 2, 2) is IResNet-18, (3, 4, 14, 3) IResNet-50."""
    g = Builder(seed)
    x = g.prelu(g.batch_norm(g.conv("input", 3, width, 3), width), width)
    channels = width
    for level, count in enumerate(layers):
        outputs = width * 2**level
        for block in range(count):
            stride = 2 if block == 0 else 1
            y = g.batch_norm(x, channels)
            y = g.prelu(g.batch_norm(g.conv(y, channels, outputs, 3), outputs), outputs)
            y = g.batch_norm(g.conv(y, outputs, outputs, 3, stride), outputs)
            if stride > 1 or channels != outputs:
                x = g.batch_norm(g.conv(x, channels, outputs, 1, stride, pad=0), outputs)
            x, channels = g.node("Add", y, x), outputs
    x = g.node("Flatten", g.batch_norm(x, channels), axis=1)
    x = g.batch_norm(g.dense(x, channels * 49, dimension), dimension)
    return g.model(x, opset, batch, dimension)


def mobilefacenet(*, opset=18, batch="batch", dimension=512, seed=0, scale=1):
    """MobileFaceNet, its flattening the Shape–Gather–Unsqueeze–Concat–Reshape of old exports.

    With a scale of 2 insightface's, 0.44 GMAC: twice the channels between the blocks, so that the
    first depthwise convolution has groups of two.
    """
    g = Builder(seed)
    wide = 64 * scale

    def block(x, inputs, outputs, kernel, stride=1, pad=None, group=1, linear=False):
        y = g.batch_norm(g.conv(x, inputs, outputs, kernel, stride, pad, group), outputs)
        return y if linear else g.prelu(y, outputs)

    def bottleneck(x, inputs, outputs, stride, expansion):
        y = block(x, inputs, expansion, 1)
        y = block(y, expansion, expansion, 3, stride, group=expansion)
        y = block(y, expansion, outputs, 1, linear=True)
        return g.node("Add", x, y) if stride == 1 and inputs == outputs else y

    x = block("input", 3, wide, 3, 2)
    x = block(x, wide, wide, 3, group=64)
    for inputs, outputs, stride, expansion, count in (
        (wide, wide, 2, 128, 5),
        (wide, 2 * wide, 2, 256, 7),
        (2 * wide, 2 * wide, 2, 512, 3),
    ):
        for i in range(count):
            x = bottleneck(
                x, inputs if i == 0 else outputs, outputs, stride if i == 0 else 1, expansion
            )
    x = block(x, 2 * wide, 512, 1)
    x = block(x, 512, 512, 7, pad=0, group=512, linear=True)
    batch_size = g.node("Gather", g.node("Shape", x), g.weight(np.int64(0)), axis=0)
    axes = [g.weight(np.int64([0]))] if opset >= 13 else []
    keywords = {} if opset >= 13 else {"axes": [0]}
    first = g.node("Unsqueeze", batch_size, *axes, **keywords)
    shape = g.node("Concat", first, g.weight(np.int64([-1])), axis=0)
    x = g.dense(g.node("Reshape", x, shape), 512, dimension)
    return g.model(g.batch_norm(x, dimension), opset, batch, dimension)

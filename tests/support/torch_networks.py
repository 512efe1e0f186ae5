"""The same networks as small PyTorch modules, for what PyTorch's exporters make of them."""

import io
import warnings

import onnx
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Identity()
        if stride > 1 or inputs != outputs:
            conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(outputs))

    def forward(self, x):
        return self.body(x) + self.shortcut(x)


class IResNet(nn.Module):
    """insightface's IResNet for 112×112."""

    def __init__(self, layers, width=64, dimension=512):
        super().__init__()
        parts = [nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.PReLU(width)]
        channels = width
        for level, count in enumerate(layers):
            for block in range(count):
                outputs = width * 2**level
                parts.append(Block(channels, outputs, 2 if block == 0 else 1))
                channels = outputs
        self.features = nn.Sequential(*parts, nn.BatchNorm2d(channels), nn.Dropout(0.0))
        self.head = nn.Linear(channels * 49, dimension)
        self.norm = nn.BatchNorm1d(dimension)

    def forward(self, x):
        return self.norm(self.head(torch.flatten(self.features(x), 1)))


class MobileFaceNet(nn.Module):
    def __init__(self, dimension=512):
        super().__init__()
        parts = [self.block(3, 64, 3, 2), self.block(64, 64, 3, group=64)]
        for inputs, outputs, expansion, count in (
            (64, 64, 128, 5),
            (64, 128, 256, 7),
            (128, 128, 512, 3),
        ):
            parts += [
                Bottleneck(inputs if i == 0 else outputs, outputs, 2 if i == 0 else 1, expansion)
                for i in range(count)
            ]
        parts += [self.block(128, 512, 1), self.block(512, 512, 7, pad=0, group=512, linear=True)]
        self.features = nn.Sequential(*parts)
        self.head = nn.Linear(512, dimension, bias=False)
        self.norm = nn.BatchNorm1d(dimension)

    @staticmethod
    def block(inputs, outputs, kernel, stride=1, pad=None, group=1, linear=False):
        pad = kernel // 2 if pad is None else pad
        parts = [
            nn.Conv2d(inputs, outputs, kernel, stride, pad, groups=group, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        return nn.Sequential(*parts, *([] if linear else [nn.PReLU(outputs)]))

    def forward(self, x):
        x = self.features(x)
        return self.norm(self.head(x.view(x.size(0), -1)))


class Bottleneck(nn.Module):
    def __init__(self, inputs, outputs, stride, expansion):
        super().__init__()
        self.residual = stride == 1 and inputs == outputs
        self.body = nn.Sequential(
            MobileFaceNet.block(inputs, expansion, 1),
            MobileFaceNet.block(expansion, expansion, 3, stride, group=expansion),
            MobileFaceNet.block(expansion, outputs, 1, linear=True),
        )

    def forward(self, x):
        return x + self.body(x) if self.residual else self.body(x)


def randomized(module, seed=0):
    """Statistics and slopes away from their defaults, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                part.running_mean.normal_(0, 0.2, generator=generator)
                part.running_var.uniform_(0.5, 1.5, generator=generator)
                part.weight.uniform_(0.5, 1.5, generator=generator)
                part.bias.normal_(0, 0.2, generator=generator)
    return module.eval()


def export(module, *, opset, dynamo):
    """What `torch.onnx.export` makes of a module, the batch free."""
    example = torch.zeros(2, 3, 112, 112)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            batch = torch.export.Dim("batch", min=1)
            program = torch.onnx.export(
                module,
                (example,),
                opset_version=opset,
                dynamo=True,
                dynamic_shapes=({0: batch},),
                verbose=False,
            )
            return program.model_proto
        buffer = io.BytesIO()
        torch.onnx.export(
            module,
            (example,),
            buffer,
            opset_version=opset,
            dynamo=False,
            input_names=["input"],
            output_names=["output"],
            dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
        )
        return onnx.load_from_string(buffer.getvalue())

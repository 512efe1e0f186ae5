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


class AdaFace(nn.Module):
    """An IResNet with AdaFace's two outputs: the unit embedding, and the norm that it had."""

    def __init__(self):
        super().__init__()
        self.backbone = IResNet((1, 1, 1, 1), width=16, dimension=64)

    def forward(self, x):
        z = self.backbone(x)
        norm = torch.norm(z, 2, 1, True)
        return z / norm, norm


class Attention(nn.Module):
    """Multi-head self-attention of tokens (N, T, C)."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x, bias=None):
        n, tokens, width = x.shape
        split = self.qkv(x).reshape(n, tokens, 3, self.heads, width // self.heads)
        q, k, v = split.permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-2, -1) * (width // self.heads) ** -0.5
        weights = torch.softmax(scores if bias is None else scores + bias, -1)
        return self.out((weights @ v).transpose(1, 2).reshape(n, tokens, width))


def mlp(width):
    return nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))


class VisionTransformer(nn.Module):
    """Patches of 16 pixels, two layers, the mean token's embedding."""

    def __init__(self, width=48, dimension=64):
        super().__init__()
        self.patches = nn.Conv2d(3, width, 16, 16)
        self.place = nn.Parameter(torch.randn(1, 49, width) * 0.1)
        self.attention = nn.ModuleList(Attention(width, 3) for _ in range(2))
        self.mlp = nn.ModuleList(mlp(width) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(5))
        self.head = nn.Linear(width, dimension)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2) + self.place
        for i in range(2):
            x = x + self.attention[i](self.norms[2 * i](x))
            x = x + self.mlp[i](self.norms[2 * i + 1](x))
        return self.head(self.norms[4](x).mean(1))


class Swin(nn.Module):
    """Windows of 7 tokens, the second layer's shifted by 3, patches merged between them.

    Deeper ones go through each layer `depth` times: more nodes of the same weights.
    """

    def __init__(self, width=24, dimension=64, depth=1):
        super().__init__()
        self.depth = depth
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.attention = nn.ModuleList(Attention(w, 3) for w in (width, 2 * width))
        self.mlp = nn.ModuleList(mlp(w) for w in (width, 2 * width))
        self.norms = nn.ModuleList(nn.LayerNorm(w) for w in (width, 2 * width) for _ in range(2))
        self.bias = nn.ParameterList(torch.randn(3, 49, 49) * 0.1 for _ in range(2))
        self.merge = nn.Linear(4 * width, 2 * width)
        self.head = nn.Linear(2 * width, dimension)

    def windows(self, x, i, shift):
        n, h, w, c = x.shape
        x = torch.roll(x, (-shift, -shift), (1, 2))
        parts = x.reshape(n, h // 7, 7, w // 7, 7, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 49, c)
        parts = self.attention[i](parts, self.bias[i])
        x = parts.reshape(n, h // 7, w // 7, 7, 7, c).permute(0, 1, 3, 2, 4, 5).reshape(n, h, w, c)
        return torch.roll(x, (shift, shift), (1, 2))

    def forward(self, x):
        x = self.patches(x).permute(0, 2, 3, 1)
        for i, shift in enumerate((0, 3)):
            if i:
                corners = [x[:, a::2, b::2] for b in (0, 1) for a in (0, 1)]
                x = self.merge(torch.cat(corners, -1))
            for _ in range(self.depth):
                x = x + self.windows(self.norms[2 * i](x), i, shift)
                x = x + self.mlp[i](self.norms[2 * i + 1](x))
        return self.head(x.mean((1, 2)))


class EdgeFace(nn.Module):
    """EdgeNeXt's parts: split depthwise convolutions, attention between channels, GELU."""

    def __init__(self, width=32, dimension=64):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 4, 4)
        self.depthwise = nn.ModuleList(nn.Conv2d(8, 8, 3, 1, 1, groups=8) for _ in range(3))
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.scale = nn.Parameter(torch.ones(4, 1, 1))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.mlp = mlp(width)
        self.head = nn.Linear(width, dimension)

    def forward(self, x):
        x = self.stem(x)
        parts, carried = list(torch.split(x, 8, 1)), None
        for i, conv in enumerate(self.depthwise):
            carried = conv(parts[i] if carried is None else parts[i] + carried)
            parts[i] = carried
        x = x + torch.cat(parts, 1)
        x = x.flatten(2).transpose(1, 2)
        n, tokens, width = x.shape
        split = self.qkv(self.norms[0](x)).reshape(n, tokens, 3, 4, width // 4)
        q, k, v = split.permute(2, 0, 3, 4, 1)  # (N, heads, channels, tokens)
        q, k = nn.functional.normalize(q, dim=-1), nn.functional.normalize(k, dim=-1)
        mixed = torch.softmax(q @ k.transpose(-2, -1) * self.scale, -1) @ v
        x = x + self.out(mixed.permute(0, 3, 1, 2).reshape(n, tokens, width))
        x = x + self.mlp(self.norms[1](x))
        return self.head(x.mean(1))


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

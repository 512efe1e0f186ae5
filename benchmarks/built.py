"""Networks that cannot be had as files: architectures of face recognizers with random weights.

What a gradient costs depends on the architecture alone. The weights' variance keeps activations at
one scale through the depth, as training does: `tests/support/networks.py`.
"""

import sys
from collections.abc import Callable

import onnx
from common import ROOT

import fggb_jax as fx

sys.path.append(str(ROOT / "tests" / "support"))
import networks

BUILT: dict[str, Callable[[], onnx.ModelProto]] = {
    "mobilefacenet-512": lambda: networks.mobilefacenet(scale=2),
    "iresnet-18": lambda: networks.iresnet((2, 2, 2, 2)),
    "iresnet-50": lambda: networks.iresnet((3, 4, 14, 3)),
    "iresnet-100": lambda: networks.iresnet((3, 13, 30, 3)),
}


def card(name: str) -> fx.Card:
    """The preprocessing of insightface's models."""
    return fx.Card(
        name,
        size=(112, 112),
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
        template="arcface-112",
        dimension=512,
        threshold=0.3,
    )

"""Folds each affine layer into the convolution before it."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dlib2onnx.errors import DlibFormatError
from dlib2onnx.layers import Affine, Con
from dlib2onnx.network import Step


def fold_affine(steps: Iterable[Step]) -> list[Step]:
    """Make one convolution of a convolution and the affine layer right after it.

    γ · (W x + b) + β = (γ W) x + (γ b + β), worked out in float64 and rounded once.

    Args:
        steps: a network in the order of computation.

    Returns:
        The network without those affine layers.

    Raises:
        DlibFormatError: if a folded weight is too large for float32.
    """
    folded: list[Step] = []
    for step in steps:
        if isinstance(step.layer, Affine) and folded and isinstance(folded[-1].layer, Con):
            folded[-1] = _folded(folded[-1], step)
        else:
            folded.append(step)
    return folded


def _folded(con: Step, affine: Step) -> Step:
    gamma = affine.weights["gamma"].astype(np.float64)
    weight = con.weights["weight"] * gamma[:, None, None, None]
    bias = con.weights["bias"] * gamma + affine.weights["beta"]
    weights = {"weight": _rounded(weight, affine), "bias": _rounded(bias, affine)}
    return replace(con, weights=weights)


def _rounded(values: NDArray[np.float64], affine: Step) -> NDArray[np.float32]:
    largest = np.abs(values).max()
    if largest > np.finfo(np.float32).max:
        raise DlibFormatError(
            f"{affine.layer.name}: folded into its convolution it overflows float32",
            offset=affine.offset,
            value=largest.item(),
        )
    return values.astype(np.float32)

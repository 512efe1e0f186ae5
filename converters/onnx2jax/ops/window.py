"""What convolution and pooling share: the padding around a sliding window."""

from __future__ import annotations

from collections.abc import Sequence


def resolve(
    size: Sequence[int],
    kernel: Sequence[int],
    auto_pad: str,
    pads: Sequence[int] | None,
    strides: Sequence[int] | None,
    dilations: Sequence[int] | None,
) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...], tuple[int, ...]]:
    """(strides, padding, dilations) of a window, ONNX's defaults for those that are absent."""
    strides, dilations = (tuple(v or [1] * len(kernel)) for v in (strides, dilations))
    padding = resolve_pads(auto_pad, pads, size, kernel, strides, dilations)
    return strides, tuple(padding), dilations


def resolve_pads(
    auto_pad: str,
    pads: Sequence[int] | None,
    size: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> list[tuple[int, int]]:
    """(before, after) for each spatial axis, from ONNX's `auto_pad` or `pads`."""
    rank = len(kernel)
    if auto_pad in ("NOTSET", ""):
        flat = list(pads or [0] * 2 * rank)
        return list(zip(flat[:rank], flat[rank:], strict=True))
    if auto_pad == "VALID":
        return [(0, 0)] * rank
    if auto_pad not in ("SAME_UPPER", "SAME_LOWER"):
        raise ValueError(
            f"auto_pad is {auto_pad!r}; ONNX has NOTSET, VALID, SAME_UPPER, SAME_LOWER"
        )
    result = []
    for n, k, s, d in zip(size, kernel, strides, dilations, strict=True):
        total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
        small, large = total // 2, total - total // 2
        result.append((small, large) if auto_pad == "SAME_UPPER" else (large, small))
    return result

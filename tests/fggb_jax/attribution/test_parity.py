"""Maps of real networks and real faces against PyTorch's plain loop and against float64.

The gates: 1 − cos ≤ 1e-6, which sees a wrong pattern, and a relative L2 error ≤ 1e-3, which
sees a wrong scale. `benchmarks/parity.py` does the same for all channels, more pairs and options.
"""

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import onnx
import pytest
from jax import numpy as jnp

import fggb_jax as fx
from fggb_jax.attribution.fggb import explain_fggb
from fggb_jax.data import samples

ROOT = Path(__file__).resolve().parents[3]
# The others are slow, and their first channels pull back through all of the network; 40 are two
# chunks, of which the second is not full.
CHANNELS = {"dlib-resnet-v1": 128, "mobilefacenet": 40, "sface": 40}
FILES = {
    "mobilefacenet": "mobilefacenet.onnx",
    "sface": "face_recognition_sface_2021dec.onnx",
}
GATE_COSINE, GATE_L2 = 1e-6, 1e-3


class Truncated(NamedTuple):
    """The first channels of an embedding function."""

    function: Any
    channels: int

    def __call__(self, params: Any, x: Any) -> Any:
        return self.function(params, x)[: self.channels]

    @property
    def stages(self) -> tuple[Any, ...]:
        """The function's own."""
        *first, last = self.function.stages
        return (*first, lambda params, x: last(params, x)[: self.channels])


@pytest.fixture(scope="module")
def proto_of(request):
    """A recognizer's network by name; skips where it is not in reach."""

    def find(name: str) -> onnx.ModelProto:
        if name in FILES:
            return onnx.load(request.getfixturevalue("model_file")(FILES[name]))
        return request.getfixturevalue("dlib_proto")

    return find


def truncated(proto: onnx.ModelProto, name: str, channels: int) -> fx.FaceModel:
    model = fx.load_model(proto, card=fx.cards()[name])
    return fx.FaceModel(Truncated(model.function, channels), model.params, model.card)


def genuine(card: fx.Card) -> list[np.ndarray]:
    return [samples.chip(name, card) for name in ("obama_a", "obama_b")]


def assert_close(got: Any, wanted: Any) -> None:
    cosine, l2 = distance(got, wanted)
    assert cosine <= GATE_COSINE
    assert l2 <= GATE_L2


def within(got: Any, wanted: Any, share: float) -> bool:
    """Whether the distance is a small share of what the gates allow."""
    cosine, l2 = distance(got, wanted)
    return cosine <= share * GATE_COSINE and l2 <= share * GATE_L2


def distance(got: Any, wanted: Any) -> tuple[float, float]:
    """(1 − cosine, relative L2): 1 − cosine by unit vectors, since 1 less a rounded cosine is 0."""
    u, v = (np.asarray(x, np.float64).ravel() for x in (got, wanted))
    norm_u, norm_v = np.linalg.norm(u), np.linalg.norm(v)
    return 0.5 * np.sum((u / norm_u - v / norm_v) ** 2), np.linalg.norm(u - v) / norm_v


# Against PyTorch


@pytest.fixture(scope="module")
def ref():
    """benchmarks/torch_reference.py, loaded by its path: `benchmarks` is no package."""
    torch = pytest.importorskip("torch", reason="PyTorch, the oracle, is not installed")
    path = ROOT / "benchmarks" / "torch_reference.py"
    if not path.is_file():
        pytest.skip("the tests run without the repository's benchmarks")
    spec = importlib.util.spec_from_file_location("torch_reference", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # two Python threads, an image each, instead
    yield module
    torch.set_num_threads(before)


class Case:
    """A recognizer, a pair, and what PyTorch's loop finds for it."""

    def __init__(self, name: str, proto: onnx.ModelProto, ref: Any, channels: int) -> None:
        self.ref = ref
        self.proto = proto
        self.model = truncated(proto, name, channels)
        self.images = genuine(self.model.card)
        self.faces: dict[tuple[str, str], list[Any]] = {}

    def gradients(self, dtype: str, embedding: str) -> list[Any]:
        """(embedding, channels' gradients) of both images; once for both kinds of map."""
        if (dtype, embedding) not in self.faces:
            one = partial(self._gradients, dtype, embedding)
            with ThreadPoolExecutor(2) as pool:
                self.faces[dtype, embedding] = list(pool.map(one, self.images))
        return self.faces[dtype, embedding]

    def _gradients(self, dtype: str, embedding: str, image: np.ndarray) -> Any:
        import torch

        kind = getattr(torch, dtype)
        whole = self.ref.embedder(self.proto, self.model.card.to_dict(), kind)
        embed = Truncated(lambda _, x: whole(x), self.model.function.channels)
        x, z = self.ref.forward(partial(embed, None), self.ref.as_image(image, kind), embedding)
        return z.detach(), torch.stack(list(self.ref.channel_gradients(x, z)))

    def maps(self, dtype: str, gradient: str, embedding: str) -> Any:
        (z_a, rows_a), (z_b, rows_b) = self.gradients(dtype, embedding)
        w = self.ref.weights(z_a, z_b)
        return float(w.sum()), [self.ref.fold(rows, w, gradient) for rows in (rows_a, rows_b)]


# The others compile longer; `fx.explain` of dlib's is tested by what it decides.
WHOLE = [n if n == "mobilefacenet" else pytest.param(n, marks=pytest.mark.slow) for n in CHANNELS]


@pytest.fixture(scope="module", params=WHOLE)
def case(request, proto_of, ref):
    name = request.param
    return Case(name, proto_of(name), ref, CHANNELS[name])


@pytest.mark.parametrize("gradient", ["magnitude", pytest.param("signed", marks=pytest.mark.slow)])
def test_maps_are_those_of_the_torch_loop(case, gradient):
    e = fx.explain(case.model, *case.images, gradient=gradient)
    exact = case.maps("float64", gradient, "raw")
    check(case, e, exact)
    plain = case.maps("float32", gradient, "raw")
    for ours, theirs, truth in zip((e.probe, e.gallery), plain[1], exact[1], strict=True):
        # Rounding may put an activation of PyTorch's float32 on the other side of its kink; then
        # it is no oracle. benchmarks/parity.py counts such flips.
        if within(theirs.p, truth.p, 0.1) and within(theirs.q, truth.q, 0.1):
            assert_close(ours.p, theirs.p)
            assert_close(ours.q, theirs.q)
            assert_close(ours.signed, theirs.signed(e.threshold))


# One model is enough: the network is that of the raw embedding, and tiny ones are tried always.
@pytest.mark.slow
@pytest.mark.parametrize("case", ["mobilefacenet"], indirect=True)
@pytest.mark.parametrize("gradient", ["signed", "magnitude"])
def test_maps_through_the_normalization(case, gradient):
    e = fx.explain(case.model, *case.images, gradient=gradient, embedding="normalized")
    check(case, e, case.maps("float64", gradient, "normalized"))


def check(case: Case, e: fx.Explanation, exact: Any) -> None:
    cosine, faces = exact
    assert e.threshold == case.model.card.threshold
    assert e.cosine == pytest.approx(cosine, abs=1e-5)
    for ours, theirs in zip((e.probe, e.gallery), faces, strict=True):
        assert_close(ours.p, theirs.p)
        assert_close(ours.q, theirs.q)
        assert_close(ours.signed, theirs.signed(e.threshold))


def test_the_loop_is_its_parts(ref, dlib_proto):
    """`fggb_loop`, which the benchmarks time, is what the other tests put together."""
    case = Case("dlib-resnet-v1", dlib_proto, ref, channels=4)
    whole = ref.embedder(case.proto, case.model.card.to_dict())
    images = [ref.as_image(image) for image in case.images]
    pair = ref.fggb_loop(lambda x: whole(x)[:4], *images, "signed")
    cosine, faces = case.maps("float32", "signed", "raw")
    assert pair.cosine == pytest.approx(cosine, abs=1e-6)
    assert_close(pair.a.p, faces[0].p)
    assert_close(pair.b.q, faces[1].q)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["dlib-resnet-v1"], indirect=True)
def test_the_gates_see_a_small_error(case):
    """Averaging a signed gradient over RGB before it is normalised is wrong by little."""
    _, faces = case.maps("float64", "signed", "raw")
    _, rows = case.gradients("float64", "raw")[0]
    mean = rows.mean(-1)
    wrong = (mean / mean.flatten(1).norm(dim=1)[:, None, None]).mean(0)
    cosine, l2 = distance(wrong, faces[0].q)
    assert cosine > GATE_COSINE
    assert l2 > GATE_L2


# Against our own float64, which needs no oracle


def tiny(channels: int = 5) -> fx.FaceModel:
    """A smooth network and 8×8 faces."""
    kernel, matrix = (
        jax.random.normal(jax.random.key(i), shape) / 10
        for i, shape in enumerate([(3, 3, 3, 6), (6, channels)])
    )

    def embed(params: Any, x: Any) -> Any:
        numbers = ("NHWC", "HWIO", "NHWC")
        y = jax.lax.conv_general_dilated(
            x[None], params["kernel"], (2, 2), "SAME", dimension_numbers=numbers
        )
        return jnp.tanh(y).mean((0, 1, 2)) @ params["matrix"]

    card = fx.Card("tiny", size=(8, 8), layout="HWC", threshold=0.5)
    return fx.FaceModel(embed, {"kernel": kernel, "matrix": matrix}, card)


def in_x64(model: fx.FaceModel, images: list[np.ndarray], **options: Any) -> fx.PairMaps:
    """The same explanation, parameters and images in float64."""
    with jax.enable_x64(True):
        params = jax.tree.map(lambda v: jnp.asarray(v, jnp.float64), model.params)
        double = fx.FaceModel(model.function, params, model.card)
        faces = [jnp.asarray(image, jnp.float64) for image in images]
        maps = explain_fggb(double, *faces, model.card.threshold, **options)
        return jax.tree.map(np.asarray, maps)


@pytest.mark.parametrize("gradient", ["magnitude", "signed"])
@pytest.mark.parametrize("embedding", ["raw", "normalized"])
def test_a_tiny_model_in_float32_is_close_to_float64(gradient, embedding):
    images = list(np.random.default_rng(0).random((2, 8, 8, 3), np.float32))
    check_x64(tiny(), images, gradient, embedding)


@pytest.mark.slow  # the loop of PyTorch is float64 too
def test_a_real_model_in_float32_is_close_to_float64(dlib_proto):
    """The defaults and a few channels only: XLA:CPU is slow in float64."""
    model = truncated(dlib_proto, "dlib-resnet-v1", 8)
    images = [chip.astype(np.float32) / np.float32(255) for chip in genuine(model.card)]
    check_x64(model, images, "magnitude", "raw")


def check_x64(model: fx.FaceModel, images: list[np.ndarray], gradient: str, embedding: str) -> None:
    exact = in_x64(model, images, gradient=gradient, embedding=embedding)
    assert exact.probe.p.dtype == np.float64
    e = fx.explain(model, *images, gradient=gradient, embedding=embedding)
    assert e.cosine == pytest.approx(float(exact.cosine), abs=1e-5)
    for ours, theirs in ((e.probe, exact.probe), (e.gallery, exact.gallery)):
        assert_close(ours.p, theirs.p)
        assert_close(ours.q, theirs.q)
        assert_close(ours.signed, theirs.signed)

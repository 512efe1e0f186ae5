import jax
import jax.numpy as jnp
import numpy as np
import pytest
from onnx import helper

import fggb_jax as fx
import tiny
import twin
from tolerances import assert_close


@pytest.fixture(scope="module")
def faces():
    return twin.pair()


@pytest.fixture(scope="module")
def converted():
    return twin.onnx_model()


def gradcam(model, faces, **options):
    e = fx.explain(model, *faces, method="gradcam", **options)
    return np.asarray(e.probe.q), np.asarray(e.gallery.q)


def by_hand(image, partner, cut):
    """Before it is enlarged, with each weight by a difference quotient in float64."""
    with jax.enable_x64(True):
        params = jax.tree.map(jnp.float64, twin.PARAMS)
        image, partner = (twin.CARD.preprocess(jnp.float64(x)) for x in (image, partner))

        def run(x, stages):
            for stage in stages:
                x = stage(params, x)
            return x

        target = np.asarray(run(partner, twin.network.stages))
        features = np.asarray(run(image, twin.network.stages[:cut]))
        rest = jax.jit(jax.vmap(lambda a: run(a, twin.network.stages[cut:])))

        def cosine(a):
            z = np.asarray(rest(a))
            return z @ target / np.linalg.norm(z, axis=1) / np.linalg.norm(target)

        # The mean of the slopes over the places is the slope along all of them together.
        steps = np.zeros((len(features), *features.shape))
        for k, step in enumerate(steps):
            step[k] = 1e-6
        places = features[0].size
        weights = (cosine(features + steps) - cosine(features - steps)) / 2e-6 / places
    return np.maximum(np.tensordot(weights, features, 1), 0)


def enlarged(values):
    return np.asarray(jax.image.resize(jnp.float32(values), twin.SIZE, "bilinear"))


def test_of_stages(faces):
    maps = gradcam(twin.model(), faces)
    for ours, images in zip(maps, (faces, faces[::-1]), strict=True):
        expected = by_hand(*images, cut=2)
        assert expected.max() > 0
        assert_close(ours, enlarged(expected), 1e-4)


@pytest.mark.parametrize(("node", "cut"), [(None, 2), ("r2", 2), ("t1", 1)])
def test_of_a_network_converted_from_onnx(faces, converted, node, cut):
    probe, _ = gradcam(converted, faces, node=node)
    assert_close(probe, enlarged(by_hand(*faces, cut)), 1e-4)


def test_channels_last(faces):
    """A card that says HWC has its channels last between the stages too."""
    first = lambda x: x.transpose(2, 0, 1)  # noqa: E731
    last = lambda x: x.transpose(1, 2, 0)  # noqa: E731
    one, two, three = twin.network.stages

    def embed(p, x):
        return twin.network(p, first(x))

    embed.stages = (
        lambda p, x: last(one(p, first(x))),
        lambda p, x: last(two(p, first(x)))[None],  # a batch of one is seen through
        lambda p, x: three(p, first(x[0])),
    )
    card = fx.Card("last", twin.SIZE, layout="HWC", mean=(0.5,) * 3, std=(0.5,) * 3, threshold=0.3)
    model = fx.FaceModel(embed, twin.model().params, card)
    assert_close(gradcam(model, faces)[0], gradcam(twin.model(), faces)[0])


@pytest.mark.parametrize(("node", "layer"), [("c2", 2), ("r2", 3), ("t1", 1)])
def test_captums(faces, converted, node, layer):
    torch = pytest.importorskip("torch")
    attr = pytest.importorskip("captum.attr")
    layers, cosine, x = twin.torch_cosine(*faces)
    theirs = attr.LayerGradCam(cosine, layers[layer]).attribute(x, relu_attributions=True)
    size = {"size": twin.SIZE, "mode": "bilinear", "align_corners": False}
    theirs = torch.nn.functional.interpolate(theirs, **size)
    assert_close(gradcam(converted, faces, node=node)[0], twin.from_torch(theirs)[..., 0])


def residual(transposed):
    """A network whose feature map has a shortcut around it, flattened in one of two orders."""
    proto = twin.proto()
    graph = proto.graph
    graph.node.insert(4, helper.make_node("Sigmoid", ["c2"], ["s2"]))
    graph.node.insert(5, helper.make_node("Mul", ["r2", "s2"], ["m2"]))
    end = "m2"
    if transposed:
        # As TensorFlow's exporters do before they flatten; turned back, so that z is the same.
        graph.node.insert(6, helper.make_node("Transpose", ["m2"], ["last"], perm=[0, 2, 3, 1]))
        graph.node.insert(7, helper.make_node("Transpose", ["last"], ["end"], perm=[0, 3, 1, 2]))
        end = "end"
    next(node for node in graph.node if node.op_type == "Flatten").input[0] = end
    return fx.load_model(proto, card=twin.CARD)


def test_a_shortcut_around_the_node_keeps_its_value(faces):
    """Of m = relu(c)·sigmoid(c) at relu(c), the factor sigmoid(c) is held."""
    ours, _ = gradcam(residual(False), faces, node="r2")
    params = twin.model().params
    embed = lambda a, s: params["w"] @ (a * s).reshape(-1) + params["b"]  # noqa: E731

    def c2(image):
        first = twin.network.stages[0](params, twin.CARD.preprocess(jnp.asarray(image)))
        return twin._conv(first, params["k2"])

    c, other = map(c2, faces)
    target = embed(jax.nn.relu(other), jax.nn.sigmoid(other))

    def cosine(a):
        z = embed(a, jax.nn.sigmoid(c))
        return z @ target / jnp.linalg.norm(z) / jnp.linalg.norm(target)

    a = jax.nn.relu(c)
    weights = jax.grad(cosine)(a).mean((1, 2))
    assert_close(ours, enlarged(np.maximum(np.tensordot(weights, a, 1), 0)), 1e-4)


def test_what_is_transposed_is_no_feature_map(faces):
    assert_close(gradcam(residual(True), faces)[0], gradcam(residual(False), faces)[0])


def test_an_unknown_node_names_those_there_are(faces, converted):
    message = "node is 'conv9', which is not a feature map of 'twin'; choose one of c1, t1, c2, r2"
    with pytest.raises(fx.OptionError, match=message):
        gradcam(converted, faces, node="conv9")
    with pytest.raises(fx.OptionError, match="node is 'f', which is not a feature map"):
        gradcam(converted, faces, node="f")


def test_a_model_that_was_not_converted_has_no_nodes(faces):
    with pytest.raises(fx.OptionError, match="'twin' has no named nodes"):
        gradcam(twin.model(), faces, node="r2")


def test_a_model_without_feature_maps(faces):
    whole = fx.FaceModel(lambda p, x: twin.network(p, x), twin.model().params, twin.CARD)
    with pytest.raises(fx.ModelError, match="give its function an attribute `stages`"):
        gradcam(whole, faces)


def test_a_second_pair_traces_nothing(monkeypatch):
    calls = []
    stages = tiny.network.stages

    def counted(params, x):
        calls.append(None)
        return tiny.network(params, x)

    counted.stages = (lambda p, x: calls.append(None) or stages[0](p, x), *stages[1:])
    model = fx.FaceModel(counted, tiny.model().params, tiny.model().card)
    images = tiny.faces()
    gradcam(model, images[:2])
    first = len(calls)
    gradcam(model, images[2:4])
    assert len(calls) == first > 0

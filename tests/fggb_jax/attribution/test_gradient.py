import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fggb_jax as fx
import twin
from tolerances import assert_close


@pytest.fixture(scope="module")
def faces():
    return twin.pair()


@pytest.fixture(scope="module")
def slopes(faces):
    """The gradient of the cosine, each entry by a central difference in float64."""
    with jax.enable_x64(True):
        params = jax.tree.map(jnp.float64, twin.PARAMS)
        embed = jax.jit(jax.vmap(lambda x: twin.network(params, twin.CARD.preprocess(x))))
        image, partner = np.float64(faces)
        target = np.asarray(embed(partner[None]))[0]
        steps = 1e-6 * np.eye(image.size).reshape(-1, *image.shape)
        z = np.asarray(embed(np.concatenate([image + steps, image - steps])))
        cosines = z @ target / np.linalg.norm(z, axis=1) / np.linalg.norm(target)
    up, down = cosines.reshape(2, *image.shape)
    return (up - down) / 2e-6


def test_gradient_equals_finite_differences(faces, slopes):
    e = fx.explain(twin.model(), *faces, method="gradient")
    assert_close(e.probe.q, np.abs(slopes).mean(-1), 1e-4)


def test_input_x_gradient_equals_finite_differences(faces, slopes):
    e = fx.explain(twin.model(), *faces, method="input_x_gradient")
    assert_close(e.probe.signed, (faces[0] * slopes).mean(-1), 1e-4)


@pytest.mark.parametrize("side", [0, 1])
def test_both_equal_captums(faces, side):
    pytest.importorskip("torch")
    attr = pytest.importorskip("captum.attr")
    _, cosine, x = twin.torch_cosine(faces[side], faces[1 - side])
    saliency = twin.from_torch(attr.Saliency(cosine).attribute(x.requires_grad_()))
    product = twin.from_torch(attr.InputXGradient(cosine).attribute(x.requires_grad_()))
    ours = fx.explain(twin.model(), *faces, method="gradient")
    assert_close((ours.probe, ours.gallery)[side].q, saliency.mean(-1))
    ours = fx.explain(twin.model(), *faces, method="input_x_gradient")
    assert_close((ours.probe, ours.gallery)[side].signed, product.mean(-1))

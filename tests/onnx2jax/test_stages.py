import jax
import numpy as np
import pytest

import networks
import onnx2jax
from tolerances import assert_close


def image(size=112):
    return np.random.default_rng(0).random((1, 3, size, size), dtype=np.float32)


@pytest.mark.parametrize(
    ("build", "resolutions"),
    [
        (lambda: networks.iresnet((1, 2, 1, 1), width=8, dimension=16), [56, 28, 14, 7]),
        (lambda: networks.mobilefacenet(dimension=16), [28, 14, 7, 1]),
    ],
    ids=["iresnet", "mobilefacenet"],
)
def test_stages_compose_to_the_model_and_cut_where_the_resolution_changes(build, resolutions):
    model = onnx2jax.load(build())
    x, seen = image(), []
    for stage in model.stages:
        x = jax.jit(stage)(model.params, x)
        seen.append(x.shape[2:])
    assert_close(x, jax.jit(model)(model.params, image()))
    assert [s[0] for s in seen if s] == resolutions


def test_gradients_through_the_stages_equal_the_models(dlib_proto):
    model = onnx2jax.load(dlib_proto)
    x = image(150) * np.float32(255)
    cotangent = np.random.default_rng(1).normal(size=(1, 128)).astype(np.float32)

    @jax.jit
    def through_the_stages(x):
        pulls = []
        for stage in model.stages:
            x, pull = jax.vjp(lambda x, stage=stage: stage(model.params, x), x)
            pulls.append(pull)
        gradient = cotangent
        for pull in reversed(pulls):
            (gradient,) = pull(gradient)
        return gradient

    whole = jax.jit(lambda x: jax.vjp(lambda x: model(model.params, x), x)[1](cotangent)[0])
    assert len(model.stages) >= 5
    assert_close(through_the_stages(x), whole(x))


def test_a_model_of_several_outputs_is_one_stage(model_file):
    model = onnx2jax.load(model_file("face_detection_yunet_2023mar.onnx"))
    assert model.stages == (model,)

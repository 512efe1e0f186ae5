"""Golden embeddings: a release that moves scores fails here (deepface#137, #400, #1293).

Generated once without this package, from the chips' PNG files c (uint8 RGB):

dlib-resnet-v1, with dlib-bin 20.0.1 (onnxruntime on the converted graph agrees to 4e-7):
    dlib.face_recognition_model_v1(DAT).compute_face_descriptor(c)
mobilefacenet, sface, with onnxruntime 1.32.0 on the CPU:
    x = ((c / 255 * range - mean) / std).transpose(2, 0, 1)[None].astype("float32")
    onnxruntime.InferenceSession(FILE, providers=["CPUExecutionProvider"]).run(None, {input: x})
"""

import numpy as np
import pytest

import fggb_jax as fx
from fggb_jax.data import samples

TOLERANCE = 1e-4  # of the norm

# model → sample → the norm, the first 8 channels
GOLDEN = {
    "dlib-resnet-v1": {
        "obama_a": (
            1.405067,
            [-0.084236, 0.120242, 0.002098, -0.066734, 0.01423, 0.00776, -0.083269, -0.10019],
        ),
        "obama_b": (
            1.361848,
            [-0.06232, 0.116256, 0.037655, -0.082323, -0.010255, 0.021338, -0.119832, -0.079379],
        ),
        "biden": (
            1.390486,
            [0.001246, 0.181424, 0.088332, -0.032005, -0.132301, 0.039528, -0.032608, -0.082339],
        ),
    },
    "mobilefacenet": {
        "obama_a": (
            20.539518,
            [3.37119, -0.41148, -0.454929, -0.116231, -1.363473, 0.411802, 2.21207, 0.339554],
        ),
        "obama_b": (
            19.489077,
            [1.457735, -0.944517, -0.787906, -0.417653, 0.830465, -1.57657, 1.839205, 0.280953],
        ),
        "biden": (
            17.995611,
            [-0.838942, 1.185826, -0.662541, -1.615538, 2.217374, -0.821228, 1.66598, 0.449779],
        ),
    },
    "sface": {
        "obama_a": (
            13.105433,
            [0.361328, 0.237784, -0.52128, 0.329926, 1.094254, 1.591248, 1.145896, -1.508581],
        ),
        "obama_b": (
            13.763913,
            [-0.191807, -0.167887, 0.584692, 1.394706, 2.18009, 2.369548, 0.833532, -0.696899],
        ),
        "biden": (
            12.378482,
            [-0.686075, 0.76473, 0.233582, 1.632982, -0.311477, 0.99611, -1.051503, 0.676484],
        ),
    },
}
FILES = {
    "mobilefacenet": "mobilefacenet.onnx",
    "sface": "face_recognition_sface_2021dec.onnx",
}


@pytest.fixture(scope="module", params=GOLDEN)
def model(request):
    if request.param in FILES:
        return fx.load_model(request.getfixturevalue("model_file")(FILES[request.param]))
    request.getfixturevalue("dlib_proto")  # skips where its package is not installed
    return fx.load_model(request.param)


def test_embeddings_have_not_moved(model):
    golden = GOLDEN[model.card.name]
    assert golden.keys() == set(samples.NAMES)
    chips = np.stack([samples.chip(name, model.card) for name in golden])
    for name, embedding in zip(golden, np.asarray(model.embed(chips)), strict=True):
        norm, channels = golden[name]
        np.testing.assert_allclose(np.linalg.norm(embedding), norm, rtol=TOLERANCE, err_msg=name)
        atol = TOLERANCE * norm
        np.testing.assert_allclose(embedding[:8], channels, rtol=0, atol=atol, err_msg=name)

import numpy as np
import pytest

import fggb_jax as fx
from fggb_jax.data import samples
from fggb_jax.faces.dlib_detector import DlibDetector, _steady_68
from fggb_jax.faces.landmarks import MIRROR_68


def test_mirroring_twice_changes_nothing():
    np.testing.assert_array_equal(MIRROR_68[MIRROR_68], np.arange(68))


def test_a_mirrored_photograph_has_mirrored_landmarks(dlib_proto):
    photo = samples.photograph("biden")
    detector = DlibDetector("dlib-68")
    [face, *_] = detector.detect(photo)
    box = np.array([face.box])
    last = photo.shape[1] - 1
    mirrored = np.ascontiguousarray(photo[:, ::-1])
    flipped = box[:, [2, 1, 0, 3]] * (-1, 1, -1, 1) + (last, 0, last, 0)
    here = _steady_68(detector._predictor, photo, box)[0]
    there = _steady_68(detector._predictor, mirrored, flipped)[0]
    np.testing.assert_allclose(there[MIRROR_68] * (-1, 1) + (last, 0), here, atol=1e-6)


def test_the_mean_lies_where_one_look_does(dlib_proto):
    """Within a tenth of the eyes' distance of the predictor's own points."""
    from fggb_jax.faces.shape_predictor import predict

    photo = samples.photograph("biden")
    detector = DlibDetector("dlib-68")
    box = np.array([detector.detect(photo)[0].box])
    one = predict(detector._predictor, photo, box)[0]
    mean = _steady_68(detector._predictor, photo, box)[0]
    eyes = np.linalg.norm(one[36:42].mean(0) - one[42:48].mean(0))
    assert np.linalg.norm(mean - one, axis=1).max() < 0.25 * eyes
    assert np.median(np.linalg.norm(mean - one, axis=1)) < 0.06 * eyes


def test_schemes_that_dlib_has_no_predictor_of():
    with pytest.raises(fx.ModelError, match="dlib predicts dlib-5, dlib-68, not 'mtcnn'"):
        DlibDetector("mtcnn")

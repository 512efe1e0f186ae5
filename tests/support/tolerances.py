"""Tolerances in one place."""

import numpy as np

RELATIVE = {np.dtype(np.float64): 1e-10, np.dtype(np.float32): 1e-5}


def assert_close(ours, theirs, relative=None):
    """Equal shape, and within `relative` of the largest magnitude."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape
    tolerance = RELATIVE[ours.dtype] if relative is None else relative
    scale = np.abs(theirs).max(initial=0)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * max(scale, 1e-30))


def relative_l2(ours, theirs):
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)


def cosine_gap(ours, theirs):
    """1 − cosine, without cancellation."""
    ours, theirs = (np.asarray(v, np.float64).ravel() for v in (ours, theirs))
    return 0.5 * np.sum((ours / np.linalg.norm(ours) - theirs / np.linalg.norm(theirs)) ** 2)

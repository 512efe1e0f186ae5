import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fggb_jax as fx
import twin
from fggb_jax.attribution.comparison import Comparison
from fggb_jax.attribution.registry import find
from tolerances import assert_close


@pytest.fixture(scope="module")
def faces():
    return twin.pair()


def xssab(faces, t=twin.T):
    return fx.explain(twin.model(), *faces, method="xssab", threshold=t)


def by_hand(image, partner, t):
    """From the Jacobian of the embedding, in NumPy: (S, the positive set)."""
    model = twin.model()
    z, other = (np.asarray(model(x), np.float64) for x in (image, partner))
    jacobian = np.asarray(jax.jacrev(model)(image), np.float64)
    f1, f2 = z / np.linalg.norm(z), other / np.linalg.norm(other)
    # d(z/|z|) = (1 − f f^T) dz / |z|
    through = (np.eye(len(z)) - np.outer(f1, f1)) / np.linalg.norm(z)
    positive = f1 * f2 >= t / len(z)
    maps = [
        np.abs(np.einsum("k,kj,jhwc->hwc", np.where(chosen, f2, 0), through, jacobian)).mean(-1)
        for chosen in (positive, ~positive)
    ]
    return maps[0] - maps[1], positive


@pytest.mark.parametrize("t", [-0.9, 0.1, 0.6])
def test_the_papers_formula(faces, t):
    e = xssab(faces, t)
    for face, images in ((e.probe, faces), (e.gallery, faces[::-1])):
        assert_close(face.signed, by_hand(*images, t)[0], 1e-4)


def test_the_threshold_moves_channels(faces):
    """There is something to separate, and the map belongs to its threshold alone."""
    sets = [by_hand(*faces, t)[1] for t in (-0.9, 0.1, 0.6)]
    assert 0 < sets[1].sum() < len(sets[1])
    assert (sets[0] != sets[2]).any()
    e = xssab(faces)
    assert e.provenance["only_at_threshold"] == twin.T


def test_all_channels_on_one_side_leave_the_gradient(faces):
    """Where every channel argues for the match, or against it: ±|∂cos/∂I|."""
    # A pair of one image: every v_k is a square, ≥ 0.
    same = np.stack([faces[0], faces[0]])
    np.testing.assert_allclose(xssab(same, 0.0).probe.signed, 0, atol=1e-6)
    # A threshold that no user may ask for, and no channel reaches.
    c = Comparison(twin.model(), *map(jnp.asarray, faces), 1e3)
    assert_close(find("xssab").face(c), -np.abs(c.gradient()).mean(-1))


def test_torchs_gradients(faces):
    torch = pytest.importorskip("torch")
    _, embed = twin.torch_modules()
    x, other = (torch.tensor(face.transpose(2, 0, 1))[None] for face in faces)
    x.requires_grad_()
    f1 = torch.nn.functional.normalize(embed(x))
    f2 = torch.nn.functional.normalize(embed(other)).detach()
    positive = f1.detach() * f2 >= twin.T / twin.N
    maps = [
        torch.autograd.grad((f1 * f2 * chosen).sum(), x, retain_graph=True)[0].abs()
        for chosen in (positive, ~positive)
    ]
    expected = twin.from_torch(maps[0]).mean(-1) - twin.from_torch(maps[1]).mean(-1)
    assert_close(xssab(faces).probe.signed, expected)

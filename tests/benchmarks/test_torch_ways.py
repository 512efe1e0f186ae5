"""All ways of PyTorch to a pair's maps give the maps of the plain loop on the network as it is."""

from importlib import import_module

import numpy as np
import pytest

import fggb_jax as fx
import networks

CARD = fx.Card("small", size=(112, 112), mean=(0.5,) * 3, std=(0.5,) * 3)
CHANNELS = 20  # a whole chunk and a part of one


@pytest.fixture(scope="module")
def pair():
    return list(np.random.default_rng(0).random((2, 112, 112, 3), np.float32))


@pytest.fixture(scope="module")
def proto():
    return networks.iresnet((1, 1, 1, 1), width=4, dimension=CHANNELS)


@pytest.fixture
def torch_ways(benchmarks):
    torch = pytest.importorskip("torch", reason="PyTorch, the oracle, is not installed")
    before = torch.get_num_threads()
    yield import_module("torch_ways")
    torch.set_num_threads(before)


def test_all_ways_give_the_maps_of_the_loop(torch_ways, proto, pair):
    ref = import_module("torch_reference")
    double = ref.torch.float64  # no activation is so near to zero that float64 flips it
    embed = ref.embedder(proto, CARD.to_dict(), double)
    wanted = ref.fggb_loop(embed, *(ref.as_image(image, double) for image in pair))
    wanted = np.stack([wanted.a.p, wanted.a.q, wanted.b.p, wanted.b.q])
    found = torch_ways.ways(proto, CARD.to_dict(), pair, double)
    assert tuple(found) == torch_ways.WAYS
    first = found["loop"](None)
    # Folded weights are float32.
    np.testing.assert_allclose(first, wanted, 0, 1e-5 * np.abs(wanted).max())
    for way in found.values():
        np.testing.assert_allclose(way(None), first, 0, 1e-12 * np.abs(first).max())


def test_a_part_of_the_channels(torch_ways, proto, pair):
    found = torch_ways.ways(proto, CARD.to_dict(), pair, torch_ways.torch.float64)
    for channels in (1, 17):
        wanted = found["loop"](channels)
        for way in found.values():
            np.testing.assert_allclose(way(channels), wanted, 0, 1e-12 * np.abs(wanted).max())
    assert not np.allclose(wanted, found["loop"](None), 1e-3)

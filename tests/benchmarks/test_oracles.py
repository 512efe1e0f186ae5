"""The branches of kinks that parity is measured on are those of the network."""

from importlib import import_module

import numpy as np
import pytest

import fggb_jax as fx
import networks


def test_our_branches_are_pytorchs(benchmarks):
    pytest.importorskip("torch", reason="PyTorch, the oracle, is not installed")
    oracles, ref = import_module("oracles"), import_module("torch_reference")
    card = fx.Card("small", size=(112, 112), mean=(0.5,) * 3, std=(0.5,) * 3)
    proto = networks.iresnet((1, 1, 1, 1), width=4, dimension=20)
    image = np.random.default_rng(0).random((112, 112, 3), np.float32)
    ours = oracles.our_branches(fx.load_model(proto, card=card), image)
    wanted = ref.branches(
        ref.embedder(proto, card.to_dict(), ref.torch.float64), ref.as_image(image)
    )
    assert len(ours) == len(wanted) > 0
    assert ref.count_flips(ours, wanted) <= 1e-4 * sum(mask.numel() for mask in wanted)
    assert any(0 < mask.float().mean() < 1 for mask in wanted)

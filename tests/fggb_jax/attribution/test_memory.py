import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fggb_jax as fx
import networks
import onnx2jax
from fggb_jax.attribution import jacobian, walk
from fggb_jax.attribution.memory import LARGEST_CHUNK, plan_chunk, plan_steps
from fggb_jax.attribution.pullback import WINOGRAD
from onnx2jax.lowering.conv import DENSE, Form
from tolerances import assert_close

CARD = fx.Card("small", size=(112, 112))


def network_proto():
    return networks.iresnet((1, 1, 1, 1), width=16, dimension=64)


@pytest.fixture(scope="module")
def network():
    return onnx2jax.load(network_proto())


def embed(network, params, x):
    return network(params, x.transpose(2, 0, 1)[None])[0]


IMAGE = jax.ShapeDtypeStruct((112, 112, 3), np.float32)


@pytest.mark.parametrize("mebibytes", [8, 24, 80])
def test_what_xla_allocates_for_a_step_stays_under_the_budget(network, mebibytes):
    f = functools.partial(embed, network)
    budget = mebibytes << 20
    chunk = plan_chunk(f, network.params, IMAGE, budget)
    x = np.zeros(IMAGE.shape, np.float32)
    _, pull = jax.jit(lambda x: jax.vjp(functools.partial(f, network.params), x))(x)

    def step(pull, cotangents):
        (gradients,) = jax.vmap(pull)(cotangents)
        return jax.vmap(functools.partial(jacobian.channel_map, kind="magnitude"))(gradients)

    compiled = jax.jit(step).lower(pull, jnp.zeros((chunk, 64))).compile()
    assert 1 <= chunk <= LARGEST_CHUNK
    assert compiled.memory_analysis().temp_size_in_bytes <= budget


@pytest.fixture(scope="module")
def steps():
    """Prepared pullbacks, the image's first."""
    model = fx.load_model(network_proto(), card=CARD)
    assert len(model.stages) > 3
    forward = functools.partial(walk.prepared, embedding="raw", kind="magnitude", form=WINOGRAD)
    return forward(model, jnp.zeros(IMAGE.shape))[1]


@pytest.mark.parametrize("mebibytes", [16, 24, 80])
def test_what_xla_allocates_for_all_stages_stays_under_the_budget(steps, mebibytes):
    """Every thread has a chunk of each stage in hand."""
    plan, total = plan_steps(steps, 64, mebibytes << 20), 0
    assert len(plan.chunks) == len(steps)
    assert all(b % a == 0 for a, b in itertools.pairwise(plan.chunks))
    for step, chunk in zip(steps, plan.chunks, strict=True):
        cotangent = jnp.zeros((chunk, *step.program.arguments[0].aval.shape))
        memory = jax.jit(jax.vmap(step)).lower(cotangent).compile().memory_analysis()
        total += memory.temp_size_in_bytes + memory.output_size_in_bytes
    kernels, residuals = (
        sum(x.nbytes for x in jax.tree.leaves(held))
        for held in ([step.kernels for step in steps], [step.residuals for step in steps])
    )
    assert kernels + 2 * residuals + total * plan.threads <= mebibytes << 20


def test_chunks_shrink_with_the_budget_to_one_of_each_stage(steps):
    plans = [plan_steps(steps, 64, m << 20) for m in (16, 20, 40, 4096)]
    chunks = [plan.chunks for plan in plans]
    assert chunks == sorted(chunks)
    assert chunks[0] < chunks[-1]
    assert max(chunks[-1]) <= LARGEST_CHUNK
    with pytest.raises(fx.OptionError, match=r"budget of 1,000 bytes is too small"):
        plan_steps(steps, 64, 1000)


@pytest.mark.slow
def test_without_room_for_winograds_kernels_the_plain_ones_give_the_same_maps():
    proto = networks.iresnet((1, 1, 1, 1), width=64, dimension=64)
    model = fx.load_model(proto, card=CARD)
    pair = np.random.default_rng(0).random((2, *IMAGE.shape), dtype=np.float32)
    plan = functools.partial(walk.plan_walk, model, "raw", "magnitude")
    budgets = [m << 20 for m in (400, 80, 64)]
    assert [plan(m).form for m in budgets] == [WINOGRAD, Form(winograd=2), DENSE]
    maps = [fx.explain(model, *pair, threshold=0.3, memory=m).probe.p for m in budgets]
    assert_close(maps[0], maps[2], relative=1e-4)
    assert_close(maps[1], maps[2], relative=1e-4)


def test_the_plan_grows_with_the_budget_and_is_bounded(network):
    f = functools.partial(embed, network)
    chunks = [plan_chunk(f, network.params, IMAGE, m << 20) for m in (4, 8, 16, 32, 4096)]
    assert chunks == sorted(chunks)
    assert chunks[0] < chunks[-1] == LARGEST_CHUNK


def test_no_more_channels_than_there_are():
    assert plan_chunk(lambda _, x: x.mean((0, 1)), None, IMAGE, None) == 3


def test_a_budget_too_small_for_one_channel_says_what_one_needs(network):
    f = functools.partial(embed, network)
    with pytest.raises(fx.OptionError, match=r"budget of 1,000 bytes is too small.*needs [\d,]+"):
        plan_chunk(f, network.params, IMAGE, 1000)

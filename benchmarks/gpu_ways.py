"""The ways to all channels' maps of a batch of images on a GPU: ours and PyTorch's, for `gpu.py`.

Each is imported by its own side's process alone.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

PRECISIONS = "float32", "tf32", "bfloat16"
MATMUL = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": "highest"}  # in JAX's words


class Case(NamedTuple):
    """A job; `chunk` channels of each of `batch` images at once."""

    model: str
    precision: str
    batch: int
    chunk: int


@cache
def network(name: str) -> tuple[Any, Any]:
    """A model's ONNX and card."""
    import built

    if name == "tiny":
        proto = built.networks.iresnet((1, 1, 1, 1), width=4, dimension=16)
        return proto, replace(built.card(name), dimension=16)
    return built.BUILT[name](), built.card(name)


def inputs(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Images in [0, 1] and embeddings to compare them with; larger batches begin as smaller do."""
    _, card = network(case.model)
    rng = [np.random.default_rng(seed) for seed in (0, 1)]
    images = rng[0].random((case.batch, *card.size, 3), np.float32)
    return images, rng[1].normal(size=(case.batch, card.dimension)).astype(np.float32)


class Work(NamedTuple):
    """A way, ready.

    Attributes:
        run: everything, till the result (B, 2, H, W), P and Q, is on the host; of `pairs` Q alone.
        memory: bytes that it needs, or None; asked after a run.
        compile_s: seconds of compiling beforehand.
    """

    run: Callable[[], np.ndarray]
    memory: Callable[[], int | None]
    compile_s: float = 0.0


# Ours


def ours(case: Case, way: str) -> Work:
    """One of our ways."""
    import jax
    import jax.numpy as jnp

    model = loaded(case.model)
    arrays = tuple(map(jnp.asarray, inputs(case)))
    with jax.default_matmul_precision(MATMUL[case.precision]):
        return {"scan": _scan, "driven": _driven, "pairs": _pairs}[way](case, model, *arrays)


@cache
def loaded(name: str) -> Any:
    """A model of ours."""
    import fggb_jax as fx

    proto, card = network(name)
    return fx.load_model(proto, card=card)


def _scan(case: Case, model: Any, images: Any, partners: Any) -> Work:
    """A batch in one program."""
    import jax

    from fggb_jax.attribution.fggb import coefficients
    from fggb_jax.attribution.walk import walk_image

    def one(model: Any, image: Any, partner: Any) -> Any:
        rows = lambda z: coefficients(z, partner)[0]  # noqa: E731
        return walk_image(model, image, rows, case.chunk, products=_products(case))

    program, seconds = _compiled(jax.vmap(one, (None, 0, 0)), model, images, partners)
    return Work(
        lambda: np.asarray(program(model, images, partners)), lambda: _planned(program), seconds
    )


def _driven(case: Case, model: Any, images: Any, partners: Any) -> Work:
    """A forward program, and a step for each chunk, from Python."""
    import jax
    import jax.numpy as jnp

    from fggb_jax.attribution.fggb import coefficients
    from fggb_jax.attribution.jacobian import accumulate
    from fggb_jax.attribution.walk import pull_image

    def forward(model: Any, images: Any, partners: Any) -> Any:
        z, pulls = jax.vmap(partial(pull_image, model, products=_products(case)))(images)
        return jax.vmap(coefficients)(z, partners)[0], pulls

    def step(carry: Any, pulls: Any, rows: Any, start: Any) -> Any:
        cotangents = jax.nn.one_hot(start + jnp.arange(case.chunk), rows.shape[-1])

        def one(carry: Any, pull: Any, rows: Any) -> Any:
            columns = jax.lax.dynamic_slice_in_dim(rows, start, case.chunk, axis=1)
            return accumulate(carry, jax.vmap(pull)(cotangents), columns)

        return jax.vmap(one)(carry, pulls, rows)

    zero = jnp.zeros((case.batch, 2, *images.shape[1:3]))
    first, seconds = _compiled(forward, model, images, partners)
    rows, pulls = first(model, images, partners)
    loop, more = _compiled(step, zero, pulls, rows, jnp.int32(0), donate_argnums=0)
    starts = [jnp.int32(start) for start in range(0, rows.shape[-1], case.chunk)]

    def run() -> np.ndarray:
        rows, pulls = first(model, images, partners)
        carry = jnp.zeros_like(zero)
        for start in starts:
            carry = loop(carry, pulls, rows, start)
        return np.asarray(carry)

    return Work(run, lambda: max(_planned(first), _planned(loop)), seconds + more)


def _pairs(case: Case, model: Any, images: Any, partners: Any) -> Work:
    """The public way, each image with its neighbour."""
    import fggb_jax as fx

    images, index = np.asarray(images), np.arange(case.batch).reshape(-1, 2)
    precision = {"float32": "highest", "tf32": "high"}.get(case.precision, case.precision)

    def run() -> np.ndarray:
        found = fx.explain_pairs(model, images, index, threshold=0.3, precision=precision)
        return np.stack([face.q[None] for e in found for face in (e.probe, e.gallery)])

    return Work(run, lambda: None)


def _products(case: Case) -> Any:
    import jax.numpy as jnp

    return jnp.bfloat16 if case.precision == "bfloat16" else None


def _compiled(function: Any, *arguments: Any, **options: Any) -> tuple[Any, float]:
    import jax

    start = time.perf_counter()
    program = jax.jit(function, **options).lower(*arguments).compile()
    return program, time.perf_counter() - start


def _planned(program: Any) -> int:
    plan = program.memory_analysis()
    return plan.temp_size_in_bytes + plan.argument_size_in_bytes + plan.output_size_in_bytes


def ours_matmul(precision: str, size: int) -> Callable[[], Any]:
    """A large product."""
    import jax
    import jax.numpy as jnp

    dtype = jnp.bfloat16 if precision == "bfloat16" else jnp.float32
    x = jax.random.normal(jax.random.key(0), (size, size), dtype)  # ones would run faster
    with jax.default_matmul_precision(MATMUL[precision]):
        program = jax.jit(jnp.dot).lower(x, x).compile()
    return lambda: program(x, x).block_until_ready()


# PyTorch's


def theirs(case: Case, way: str) -> Work:
    """One of PyTorch's ways."""
    import torch
    import torch_reference as ref

    device = "cuda" if torch.cuda.is_available() else "cpu"
    _settle(case.precision)
    dtype = torch.bfloat16 if case.precision == "bfloat16" else torch.float32
    kind, _, layout = way.partition(" ")
    layouts = {"": torch.contiguous_format, "nhwc": torch.channels_last}
    _, card = network(case.model)
    embed = ref.batch_embedder(folded(case.model), card.to_dict(), dtype, layouts[layout], device)
    images, partners = (torch.from_numpy(x).to(device) for x in inputs(case))
    find = {"vmap": _vmap, "batched": _batched, "compiled": _torch_compiled}[kind](embed)
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()

    def run() -> np.ndarray:
        z, gradients = find(images.to(dtype))
        z = z.detach().float()
        w = z * partners / (z.norm(dim=1) * partners.norm(dim=1))[:, None]
        rows = torch.stack([w, torch.full_like(w, 1 / w.shape[1])], 1)
        total = torch.zeros((case.batch, 2, *images.shape[1:3]), device=device)
        for start in range(0, w.shape[1], case.chunk):
            chunk = min(case.chunk, w.shape[1] - start)
            seeds = torch.zeros((chunk, *z.shape), dtype=dtype, device=device)
            seeds[torch.arange(chunk), :, start + torch.arange(chunk)] = 1
            maps = gradients(seeds).detach().float().abs().mean(-1)  # (C, B, H, W)
            maps = maps / maps.flatten(2).norm(dim=2)[..., None, None]
            total += torch.einsum("bmc,cbhw->bmhw", rows[:, :, start : start + chunk], maps)
        return total.cpu().numpy()

    return Work(run, lambda: torch.cuda.max_memory_allocated() if device == "cuda" else None)


@cache
def folded(name: str) -> Any:
    """A model's ONNX without normalizations."""
    from fold import fold

    return fold(network(name)[0])


def _settle(precision: str) -> None:
    """PyTorch's switches for a precision."""
    import torch

    fast = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = fast
    torch.backends.cudnn.allow_tf32 = fast
    torch.backends.cudnn.benchmark = True


def _vmap(embed: Any) -> Any:
    import torch

    def find(images: Any) -> Any:
        z, pull = torch.func.vjp(embed, images)
        return z, lambda seeds: torch.func.vmap(pull)(seeds)[0]

    return find


def _batched(embed: Any) -> Any:
    import torch

    def find(images: Any) -> Any:
        x = images.requires_grad_(True)
        z = embed(x)
        options = {"is_grads_batched": True, "retain_graph": True}
        return z, lambda seeds: torch.autograd.grad(z, x, seeds, **options)[0]

    return find


def _torch_compiled(embed: Any) -> Any:
    """Each chunk computes the forward pass again, since a compiled function keeps no graph."""
    import torch

    @torch.compile
    def pulled(images: Any, seeds: Any) -> Any:
        _, pull = torch.func.vjp(embed, images)
        return torch.func.vmap(pull)(seeds)[0]

    def find(images: Any) -> Any:
        with torch.no_grad():
            z = embed(images)
        return z, partial(pulled, images)

    return find


def torch_matmul(precision: str, size: int) -> Callable[[], Any]:
    """A large product."""
    import torch

    cuda = torch.cuda.is_available()
    _settle(precision)
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    x = torch.randn((size, size), dtype=dtype, device="cuda" if cuda else "cpu")

    def run() -> None:
        torch.mm(x, x)
        if cuda:
            torch.cuda.synchronize()

    return run

"""FGGB compiled ahead of time for TPUs, without one: does it fit, and what bounds it?

    pip install -e ".[tpu]" && python benchmarks/tpu.py    # a quarter of an hour on one core
    python benchmarks/tpu.py --quick                       # one small network for one chip

The program is data parallel: images, with the embeddings that they are compared with, are sharded
over four chips; each image's forward pass and all its channels stay on one. The table says whether
XLA put a collective into it, what it needs of a chip's memory, how its arithmetic compares with the
floor, N × a forward pass, and how long it took to compile. A roofline, the greater of arithmetic ÷
peak and traffic ÷ bandwidth, by XLA's own counts, ranks the variants: nothing was run.

XLA counts the body of a loop once, so a step is the program less its forward pass. The floor is
counted before XLA optimizes, which may add arithmetic of its own.
"""

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import version
from typing import Any

# libtpu asks no server what machine this is; JAX computes nothing on a TPU.
os.environ |= {"TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost"}
os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-4")
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
from built import BUILT, card
from common import RESULTS, table, write
from jax.experimental import topologies
from jax.sharding import NamedSharding, PartitionSpec

import fggb_jax as fx
import onnx2jax
from fggb_jax.attribution.fggb import coefficients
from fggb_jax.attribution.walk import walk_image

GIB = 1 << 30
# Compiling as fast as XLA can.
COMPILER = {"exec_time_optimization_effort": -1.0}
COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "reduce-scatter", "collective-permute")
# Products of bfloat16 that make one of float32, "highest".
PASSES = {"bfloat16": 1, "float32": 6}


@dataclasses.dataclass(frozen=True)
class Chip:
    """A topology of four chips, and one chip's peak as its maker states it.

    Attributes:
        topology: as libtpu names it.
        flops: a second, bfloat16.
        bandwidth: of its memory, bytes a second.
        memory: bytes.
    """

    topology: str
    flops: float
    bandwidth: float
    memory: float


CHIPS = {
    "v5e": Chip("v5e:2x2", 197e12, 819e9, 16 * GIB),
    "v5p": Chip("v5p:2x2x1", 459e12, 2765e9, 95 * GIB),
    "v6e": Chip("v6e:2x2", 918e12, 1640e9, 32 * GIB),
}


@dataclasses.dataclass(frozen=True)
class Case:
    """One program.

    Attributes:
        model: one of `built.BUILT`.
        chip: one of `CHIPS`.
        precision: of the network; maps are float32.
        batch: images a chip.
        chunk: channels of each image at once.
    """

    model: str
    chip: str
    precision: str = "bfloat16"
    batch: int = 8
    chunk: int = 32


def cases() -> Iterator[Case]:
    """What matters most comes first."""
    for precision in PASSES:
        for chip in CHIPS:
            yield Case("iresnet-50", chip, precision)
    for chip in CHIPS:
        yield Case("mobilefacenet-512", chip)
    for chunk in (64, 128):
        yield Case("iresnet-50", "v5e", chunk=chunk)
    yield Case("iresnet-50", "v5e", batch=1)
    yield Case("iresnet-100", "v5e")
    yield Case("mobilefacenet-512", "v5e", chunk=128)
    yield Case("mobilefacenet-512", "v5e", "float32")


# The program


@cache
def face_model(name: str) -> fx.FaceModel:
    """A network lowered for TPUs."""
    network = onnx2jax.load(BUILT[name](), target="tpu")
    return fx.FaceModel(lambda p, x: network(p, x[None])[0], network.params, card(name))


def whole(case: Case) -> Callable[..., Any]:
    """All of FGGB for a batch of images, the embeddings of the other ones given."""
    products = jnp.bfloat16 if case.precision == "bfloat16" else None

    def maps(model: Any, image: Any, partner: Any) -> Any:
        rows = lambda z: coefficients(z, partner)[0]  # noqa: E731
        return walk_image(model, image, rows, case.chunk, products=products)

    return jax.vmap(maps, (None, 0, 0))


def forward(model: Any, images: Any, partners: Any) -> Any:
    """The embeddings alone."""
    return jax.vmap(model)(images)


@cache
def mesh(chip: str) -> Any:
    topology = topologies.get_topology_desc(
        platform="tpu", topology_name=CHIPS[chip].topology, chips_per_host_bounds=(2, 2, 1)
    )
    return topologies.make_mesh(topology, (4,), ("images",))


def compiled(case: Case, program: Callable[..., Any]) -> tuple[Any, float]:
    """A program for the four chips, and the CPU seconds that it took, which no load changes."""
    devices = mesh(case.chip)
    model = face_model(case.model)
    copied, sharded = (NamedSharding(devices, PartitionSpec(*axes)) for axes in ((), ("images",)))
    count = devices.size * case.batch
    images = jax.ShapeDtypeStruct((count, *model.card.size, 3), jnp.float32)
    partners = jax.ShapeDtypeStruct((count, model.card.dimension), jnp.float32)
    start = time.process_time()
    with jax.default_matmul_precision("highest"):
        jitted = jax.jit(program, in_shardings=(copied, sharded, sharded), out_shardings=sharded)
        traced = jitted.trace(jax.eval_shape(lambda: model), images, partners)
    found = traced.lower(lowering_platforms=("tpu",)).compile(compiler_options=COMPILER)
    return found, time.process_time() - start


@cache
def forward_cost(case: Case) -> dict[str, float]:
    return compiled(case, forward)[0].cost_analysis()


@cache
def floor(name: str) -> float:
    """Operations of one forward pass of one image, as the network is written."""
    model = face_model(name)
    image = jax.ShapeDtypeStruct((*model.card.size, 3), jnp.float32)
    return jax.jit(lambda model, x: model(x)).lower(model, image).cost_analysis()["flops"]


def collectives(program: Any) -> int:
    """How often chips exchange something."""
    text = program.as_text()
    return sum(text.count(f" {name}") for name in COLLECTIVES)


def examine(case: Case) -> dict[str, Any]:
    """What XLA says of one case."""
    before = forward_cost(dataclasses.replace(case, chunk=0))
    program, seconds = compiled(case, whole(case))
    cost, memory = program.cost_analysis(), program.memory_analysis()
    chip, channels = CHIPS[case.chip], card(case.model).dimension
    flops, traffic = (cost[k] - before[k] for k in ("flops", "bytes accessed"))
    passes, steps = PASSES[case.precision], -(-channels // case.chunk)
    arithmetic, movement = passes * flops / chip.flops, traffic / chip.bandwidth
    needed = memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes
    return {
        **dataclasses.asdict(case),
        "compile_cpu_s": seconds,
        "collectives": collectives(program),
        "memory_bytes": needed,
        "memory_share": needed / chip.memory,
        "step_flops": flops,
        "step_bytes": traffic,
        "flops_by_floor": flops / (case.batch * case.chunk * floor(case.model)),
        "bound": "arithmetic" if arithmetic > movement else "memory",
        "roofline_ms_per_image": 1e3 * steps * max(arithmetic, movement) / case.batch,
        "floor_ms_per_image": 1e3 * channels * passes * floor(case.model) / chip.flops,
    }


def render(rows: list[dict[str, Any]]) -> str:
    """A line a program."""
    header = (
        *("model", "chip", "precision", "images", "chunk", "compiled in, CPU", "memory a chip"),
        *("collectives", "flops ÷ floor", "bound by", "roofline, ms an image", "floor"),
    )
    lines = [
        (
            *(row["model"], row["chip"], row["precision"], row["batch"], row["chunk"]),
            f"{row['compile_cpu_s']:.0f} s",
            f"{row['memory_bytes'] / GIB:.2f} GiB, {100 * row['memory_share']:.0f} %",
            row["collectives"],
            f"{row['flops_by_floor']:.3f}",
            row["bound"],
            f"{row['roofline_ms_per_image']:.1f}",
            f"{row['floor_ms_per_image']:.1f}",
        )
        for row in rows
    ]
    note = (
        "Compiled ahead of time, never run. Roofline: all channels of one image, the greater of "
        "XLA's flops ÷ the chip's peak (six passes of bfloat16 for float32) and XLA's bytes "
        "accessed ÷ its bandwidth; floor: N forward passes at the peak. Memory: arguments, results "
        "and temporaries. `images` is a chip's batch, of four chips."
    )
    return f"{table(header, lines)}\n\n{note}"


def sound(row: dict[str, Any]) -> bool:
    """No collective, fits, and does the arithmetic of the floor."""
    fits = row["memory_share"] < 1
    return not row["collectives"] and fits and abs(row["flops_by_floor"] - 1) <= 0.1


def known() -> list[dict[str, Any]]:
    """The rows of a run that broke off, by the same compiler."""
    path = RESULTS / "tpu.json"
    found = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    same = (found.get("libtpu"), found.get("compiler")) == (version("libtpu"), COMPILER)
    return found["rows"] if same else []


def main() -> int:
    """Compile all cases; 1 where one is not sound."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one small program, nothing written")
    parser.add_argument("--resume", action="store_true", help="keep what results/tpu.json has")
    options = parser.parse_args()
    if options.quick:
        row = examine(Case("mobilefacenet-512", "v5e", batch=1))
        print(render([row]))
        return int(not sound(row))
    rows = known() if options.resume else []
    done = [tuple(row[field.name] for field in dataclasses.fields(Case)) for row in rows]
    for case in cases():
        if dataclasses.astuple(case) in done:
            continue
        rows.append(examine(case))
        record = {"libtpu": version("libtpu"), "compiler": COMPILER, "rows": rows}
        write("tpu", record, render(rows))  # after each, so that nothing is lost
    return int(not all(map(sound, rows)))


if __name__ == "__main__":
    sys.exit(main())

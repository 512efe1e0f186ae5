"""Compare a converted model with onnxruntime, node by node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from onnx2jax.errors import OnnxError
from onnx2jax.graph import TensorSpec
from onnx2jax.model import Model, load

if TYPE_CHECKING:
    import onnx

    from onnx2jax.reader import Source


@dataclass(frozen=True)
class Report:
    """The comparison of one model with onnxruntime on one input.

    Attributes:
        nodes: how many values were compared.
        error: the largest |ours − theirs| ÷ max(|theirs|, 0.01) over the graph's outputs.
        worst: the same over every value of the graph.
        divergence: the first value, in the graph's order, whose error exceeds the tolerance, as a
            line of text; None where there is none.
    """

    nodes: int
    error: float
    worst: float
    divergence: str | None

    def __str__(self) -> str:
        verdict = self.divergence or "no divergence"
        return (
            f"{self.nodes} values compared, outputs within {self.error:.1e} of the largest, "
            f"every value within {self.worst:.1e}: {verdict}"
        )


def check(
    source: Source,
    inputs: Mapping[str, np.ndarray] | None = None,
    *,
    tolerance: float = 1e-4,
    seed: int = 0,
) -> Report:
    """Run a model here and in onnxruntime, and compare every value on the way.

    Args:
        source: the model, as `onnx2jax.load` takes it.
        inputs: arrays by input name; random ones, uniform in [0, 1), where absent.
        tolerance: the greatest |difference| allowed, relative to each value's largest magnitude.
        seed: of the random inputs.

    Returns:
        A `Report`; `report.divergence` names the first node that differs.

    Raises:
        OnnxError: onnxruntime is not installed, or it refuses the model.
    """
    from onnx2jax.reader import read_proto

    model = load(source)
    feeds = dict(inputs or _random_inputs(model.inputs, seed))
    ours = _our_values(model, feeds)
    theirs = _their_values(read_proto(source), list(ours), feeds)
    outputs = {spec.name for spec in model.outputs}
    errors = {name: _error(ours[name], theirs[name]) for name in ours}
    bad = [name for name, error in errors.items() if not error <= tolerance]
    divergence = None
    if bad:
        node = next(n for n in model.graph.nodes if bad[0] in n.outputs)
        divergence = f"{node} diverges first, by {errors[bad[0]]:.1e}; it reads {list(node.inputs)}"
    return Report(
        nodes=len(errors),
        error=max(errors[name] for name in outputs),
        worst=max(errors.values()),
        divergence=divergence,
    )


def _random_inputs(specs: tuple[TensorSpec, ...], seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    feeds = {}
    for spec in specs:
        if spec.single is None:
            raise OnnxError(f"input {spec.name!r} has no fixed shape, {spec.shape}: give `inputs`")
        feeds[spec.name] = rng.random(spec.single).astype(spec.dtype)
    return feeds


def _our_values(model: Model, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    produced = [name for node in model.graph.nodes for name in node.outputs if name]

    @jax.jit
    def every_value(params: Any, inputs: Any) -> list[Any]:
        values = {**model.constants, **params, **inputs}
        model.interpreter.run(model.graph.nodes, values)
        return [values[name] for name in produced]

    inputs = {name: jnp.asarray(x) for name, x in feeds.items()}
    # What is compared is the conversion, not what a GPU or TPU rounds factors to by default.
    with jax.default_matmul_precision("highest"):
        found = every_value(model.params, inputs)
    return {name: np.asarray(v) for name, v in zip(produced, found, strict=True)}


def _their_values(
    proto: onnx.ModelProto, names: list[str], feeds: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    try:
        import onnxruntime
    except ImportError:
        raise OnnxError("the comparison needs onnxruntime: pip install onnxruntime") from None
    import onnx

    exposed = onnx.ModelProto()
    exposed.CopyFrom(proto)
    outputs = {v.name for v in proto.graph.output}
    exposed.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in outputs)
    options = onnxruntime.SessionOptions()
    # Fused nodes would hide the values that are compared.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            exposed.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        found = session.run(names, dict(feeds))
        return {name: np.asarray(v) for name, v in zip(names, found, strict=True)}
    except Exception as error:  # onnxruntime has a dozen exception types of its own
        raise OnnxError(f"onnxruntime refuses the model: {error}") from None


def _error(ours: np.ndarray, theirs: np.ndarray) -> float:
    if ours.shape != theirs.shape:
        return float("inf")
    if not theirs.size:
        return 0.0
    theirs = theirs.astype(np.float64)
    difference = np.abs(ours.astype(np.float64) - theirs)
    # The floor: onnxruntime's own sigmoid is off by 1e-7 where it should be 1e-8.
    return float(difference.max() / max(np.abs(theirs).max(), 1e-2))

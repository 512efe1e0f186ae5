"""onnx2jax: ONNX models as pure JAX functions.

>>> import onnx2jax
>>> model = onnx2jax.load("face.onnx")        # doctest: +SKIP
>>> y = model(model.params, x)                # doctest: +SKIP
"""

from typing import TYPE_CHECKING

from onnx2jax import backend
from onnx2jax import ops as _ops  # noqa: F401  importing the operators fills the registry
from onnx2jax.check import Report, check
from onnx2jax.errors import (
    DataDependentError,
    InputError,
    InvalidModelError,
    OnnxError,
    OperatorError,
    UnsupportedModelError,
)
from onnx2jax.export import export
from onnx2jax.graph import Graph, Node, TensorSpec
from onnx2jax.model import Model, load
from onnx2jax.registry import Context, op, operators
from onnx2jax.saved import save

if TYPE_CHECKING:
    from onnx2jax.nnx import to_nnx

__all__ = [
    "Context",
    "DataDependentError",
    "Graph",
    "InputError",
    "InvalidModelError",
    "Model",
    "Node",
    "OnnxError",
    "OperatorError",
    "Report",
    "TensorSpec",
    "UnsupportedModelError",
    "backend",
    "check",
    "export",
    "load",
    "op",
    "operators",
    "save",
    "to_nnx",
]


def __getattr__(name: str) -> object:
    # flax takes half a second to import, and few need it.
    if name == "to_nnx":
        from onnx2jax.nnx import to_nnx

        return to_nnx
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

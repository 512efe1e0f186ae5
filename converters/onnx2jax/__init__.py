"""onnx2jax: ONNX models as pure JAX functions.

>>> import onnx2jax
>>> model = onnx2jax.load("face.onnx")        # doctest: +SKIP
>>> y = model(model.params, x)                # doctest: +SKIP
"""

from onnx2jax import backend
from onnx2jax import ops as _ops  # noqa: F401  importing the operators fills the registry
from onnx2jax.check import Report, check
from onnx2jax.errors import (
    InputError,
    InvalidModelError,
    OnnxError,
    OperatorError,
    UnsupportedModelError,
)
from onnx2jax.graph import Graph, Node, TensorSpec
from onnx2jax.model import Model, load
from onnx2jax.registry import Context, op, operators

__all__ = [
    "Context",
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
    "load",
    "op",
    "operators",
]

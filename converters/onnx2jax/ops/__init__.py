"""The operators, one family a file. Importing a module registers what it holds."""

from onnx2jax.ops import (  # noqa: F401
    activation,
    conv,
    elementwise,
    linear,
    normalization,
    pooling,
    reduction,
    resize,
    shape,
)

"""What an image's channels cost at the least: N forward passes at the rate of a matrix product."""

import math
from collections.abc import Callable
from typing import Any

from common import elapsed


def flops(model: Any) -> float:
    """Operations of one image's channels: the products of N forward passes of a `FaceModel`."""
    import jax
    import jax.numpy as jnp

    image = jax.ShapeDtypeStruct((*model.card.size, 3), jnp.float32)
    total = 0
    for eqn in jax.make_jaxpr(lambda model, x: model(x))(model, image).eqns:
        kind, shapes = eqn.primitive.name, [v.aval.shape for v in (*eqn.invars, *eqn.outvars)]
        if kind == "conv_general_dilated":
            _, kernels, result = shapes
            outputs = kernels[eqn.params["dimension_numbers"].rhs_spec[0]]
            total += 2 * math.prod(result) * math.prod(kernels) // outputs
        elif kind == "dot_general":
            left, _, result = shapes
            (summed, _), _ = eqn.params["dimension_numbers"]
            total += 2 * math.prod(result) * math.prod(left[axis] for axis in summed)
    return float(model.card.dimension * total)


def rate(product: Callable[[], Any], size: int) -> float:
    """Operations a second of the product of two square matrices, the best of five."""
    product()
    return 2 * size**3 / min(elapsed(product) for _ in range(5))

"""Matrix products."""

from __future__ import annotations

import jax.numpy as jnp

from onnx2jax.registry import op
from onnx2jax.values import align, namespace


@op("MatMul")
def MatMul(a, b):
    return namespace(a, b).matmul(a, b)


@op("Gemm", 1)
def Gemm_1(a, b, c, *, alpha=1.0, beta=1.0, broadcast=0, transA=0, transB=0):
    return Gemm(a, b, c, alpha=alpha, beta=beta, transA=transA, transB=transB)


@op("Gemm", 7)
def Gemm(a, b, c=None, *, alpha=1.0, beta=1.0, transA=0, transB=0):
    y = jnp.matmul(a.T if transA else a, b.T if transB else b)
    if alpha != 1:
        y = (alpha * y).astype(y.dtype)
    if c is None or beta == 0:
        return y
    y, c = align(y, c)
    return y + (c if beta == 1 else (beta * c).astype(c.dtype))


@op("Einsum")
def Einsum(*values, equation):
    return jnp.einsum(equation, *values)

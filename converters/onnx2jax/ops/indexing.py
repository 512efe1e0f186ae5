"""Values picked and placed by index; results whose size the values decide."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from onnx2jax.registry import op
from onnx2jax.values import index_dtype, ints, namespace


@op("Gather")
def Gather(x, indices, *, axis=0):
    xp = namespace(x, indices)
    return xp.take(x, _wrapped(indices, np.shape(x)[axis]), axis)


@op("GatherElements", 11)
def GatherElements(x, indices, *, axis=0):
    xp = namespace(x, indices)
    return xp.take_along_axis(x, _wrapped(indices, np.shape(x)[axis]), axis)


@op("GatherND", 11)
def GatherND(x, indices, *, batch_dims=0):
    xp = namespace(x, indices)

    def pick(x, indices):
        return x[tuple(xp.moveaxis(xp.asarray(indices), -1, 0))]

    if not batch_dims:
        return pick(x, indices)
    for _ in range(batch_dims):
        pick = jax.vmap(pick)
    return pick(jnp.asarray(x), jnp.asarray(indices))


@op("Scatter", 9)
def Scatter(x, indices, updates, *, axis=0):
    return ScatterElements(x, indices, updates, axis=axis)


@op("ScatterElements", 11)
def ScatterElements(x, indices, updates, *, axis=0, reduction="none"):
    indices = jnp.asarray(_wrapped(indices, np.shape(x)[axis]))
    where = list(jnp.indices(indices.shape, sparse=True))
    where[axis % np.ndim(x)] = indices
    return _scatter(x, tuple(where), updates, reduction)


@op("ScatterND", 11)
def ScatterND(x, indices, updates, *, reduction="none"):
    where = jnp.moveaxis(jnp.asarray(indices), -1, 0)
    return _scatter(x, tuple(where), updates, reduction)


_METHODS = {"none": "set", "add": "add", "mul": "multiply", "min": "min", "max": "max"}


def _scatter(x, where, updates, reduction):
    x = jnp.asarray(x)
    updates = jnp.asarray(updates).astype(x.dtype)
    if reduction == "mul" and jnp.issubdtype(x.dtype, jnp.floating):
        return _multiplied(x, updates, where)
    return getattr(x.at[where], _METHODS[reduction])(updates)


@jax.custom_jvp
def _multiplied(x, updates, where):
    """JAX's own has a derivative only where no place is multiplied twice."""
    return x.at[where].multiply(updates)


@_multiplied.defjvp
def _multiplied_jvp(primals, tangents):
    (x, updates, where), (dx, dupdates, _) = primals, tangents
    kept = updates.ndim - max(np.ndim(i) for i in where)  # axes of whole slices, behind the places
    rows = updates.reshape(-1, *updates.shape[updates.ndim - kept :])
    places = [jnp.broadcast_to(i, updates.shape[: updates.ndim - kept]).reshape(-1) for i in where]

    def one_by_one(x, rows):
        def step(x, row):
            update, *place = row
            return x.at[tuple(place)].multiply(update, unique_indices=True), None

        return lax.scan(step, x, (rows, *places))[0]

    return jax.jvp(one_by_one, (x, rows), (dx, dupdates.reshape(rows.shape)))


@op("TensorScatter", 24)
def TensorScatter(past_cache, update, write_indices=None, *, axis=-2, mode="linear"):
    length, new = past_cache.shape[axis], update.shape[axis]
    if write_indices is None:
        write_indices = jnp.zeros(past_cache.shape[0], int)

    def one(cache, update, start):
        where = start + jnp.arange(new)
        where = where % length if mode == "circular" else where
        index = [slice(None)] * cache.ndim
        index[axis % past_cache.ndim - 1] = where
        return cache.at[tuple(index)].set(update)

    return jax.vmap(one)(jnp.asarray(past_cache), jnp.asarray(update), jnp.asarray(write_indices))


def _wrapped(indices, size):
    """Negative indices count from the end."""
    xp = namespace(indices)
    indices = xp.asarray(indices)
    if indices.dtype.kind == "u":
        return indices
    return xp.where(indices < 0, indices + size, indices)


@op("OneHot", 9, static=("depth",))
def OneHot(indices, depth, values, *, axis=-1):
    (depth,) = ints(depth)
    axis = axis % (np.ndim(indices) + 1)
    shape = [1] * (np.ndim(indices) + 1)
    shape[axis] = depth
    whole = jnp.floor(indices) if jnp.issubdtype(indices.dtype, jnp.floating) else indices
    whole = jnp.expand_dims(jnp.where(whole < 0, whole + depth, whole), axis)
    hot = whole == jnp.arange(depth).reshape(shape).astype(whole.dtype)
    return jnp.where(hot, values[1], values[0])


@op("TopK", 1)
def TopK_1(x, *, axis=-1, k):
    return TopK(x, np.asarray(k), axis=axis)


@op("TopK", 10, static=("k",))
def TopK(x, k, *, axis=-1, largest=1, sorted=1):
    (k,) = ints(k)
    # A stable sort keeps the lower index first among equals, as ONNX wants; the largest come first
    # by sorting what is turned round, which is exact for integers too.
    x = jnp.asarray(x)
    if largest:
        turned = jnp.argsort(jnp.flip(x, axis), axis, stable=True)
        order = x.shape[axis] - 1 - jnp.flip(turned, axis)
    else:
        order = jnp.argsort(x, axis, stable=True)
    order = lax.slice_in_dim(order, 0, k, axis=axis % x.ndim)
    return jnp.take_along_axis(x, order, axis), order.astype(index_dtype())


@op("ReverseSequence", 10)
def ReverseSequence(x, sequence_lens, *, batch_axis=1, time_axis=0):
    steps = jnp.arange(x.shape[time_axis])
    lengths = jnp.asarray(sequence_lens)[:, None]
    where = jnp.where(steps < lengths, lengths - 1 - steps, steps)  # (batch, time)
    if batch_axis > time_axis:
        where = where.T
    shape = [1] * x.ndim
    shape[batch_axis], shape[time_axis] = x.shape[batch_axis], x.shape[time_axis]
    return jnp.take_along_axis(jnp.asarray(x), where.reshape(shape), time_axis)


@op("NonZero", 9, counted=("x",))
def NonZero(x, *, ctx):
    if ctx.max_size is None:
        return np.stack(np.nonzero(np.atleast_1d(x))).astype(np.int64)
    ctx.count(jnp.count_nonzero(x))
    found = jnp.nonzero(jnp.atleast_1d(x), size=ctx.max_size)
    return jnp.stack(found).astype(index_dtype())


@op("Compress", 9, counted=("condition",))
def Compress(x, condition, *, axis=None, ctx):
    x, axis = (x.reshape(-1), 0) if axis is None else (x, axis)
    if ctx.max_size is None:
        return namespace(x).take(x, np.flatnonzero(condition), axis)
    ctx.count(jnp.count_nonzero(condition))
    (where,) = jnp.nonzero(condition, size=ctx.max_size)
    return jnp.take(x, where, axis)


@op("Unique", 11, counted=("x",))
def Unique(x, *, axis=None, sorted=1, ctx):
    """Padded: in the order of values, whether `sorted` or not, with the least one behind."""
    if ctx.max_size is None:
        return _unique(x, axis, bool(sorted))[: ctx.n_outputs]
    y, first, inverse, counts = jnp.unique(
        x, True, True, True, axis=axis, size=ctx.max_size, sorted=True
    )
    ctx.count(jnp.count_nonzero(counts))
    integers = (v.reshape(-1).astype(index_dtype()) for v in (first, inverse, counts))
    return (y, *integers)[: ctx.n_outputs]


def _unique(x, axis, in_order):
    y, first, inverse, counts = np.unique(x, True, True, True, axis=axis)
    inverse = inverse.reshape(-1)
    if not in_order:  # by first occurrence
        order = np.argsort(first)
        rank = np.argsort(order)
        y = np.take(y, order, 0 if axis is None else axis)
        first, counts, inverse = first[order], counts[order], rank[inverse]
    return (y, *(v.astype(np.int64) for v in (first, inverse, counts)))

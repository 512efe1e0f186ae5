"""A few of ONNX's classical operators (domain ai.onnx.ml)."""

from __future__ import annotations

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np

from onnx2jax.registry import op
from onnx2jax.values import on_host

_op = functools.partial(op, domain="ai.onnx.ml")


@_op("ArrayFeatureExtractor")
def ArrayFeatureExtractor(x, y):
    columns = jnp.take(jnp.asarray(x), jnp.asarray(y).reshape(-1), -1)
    return columns.reshape(*(np.shape(x)[:-1] or (1,)), -1)


@_op("Binarizer")
def Binarizer(x, *, threshold=0.0):
    return (x > threshold).astype(x.dtype)


@_op("LabelEncoder", 2)
def LabelEncoder(
    x,
    *,
    default_float=-0.0,
    default_int64=-1,
    default_string="_Unused",
    default_tensor=None,
    keys_floats=None,
    keys_int64s=None,
    keys_strings=None,
    keys_tensor=None,
    values_floats=None,
    values_int64s=None,
    values_strings=None,
    values_tensor=None,
):
    keys = next(k for k in (keys_tensor, keys_floats, keys_int64s, keys_strings) if k is not None)
    choices = (
        (values_tensor, None if default_tensor is None else default_tensor.reshape(-1)[0]),
        (None if values_floats is None else np.asarray(values_floats, np.float32), default_float),
        (None if values_int64s is None else np.asarray(values_int64s, np.int64), default_int64),
        (None if values_strings is None else np.asarray(values_strings, object), default_string),
    )
    default: Any
    values, default = next((v, d) for v, d in choices if v is not None)
    keys, values = np.asarray(keys), np.asarray(values)
    if values.dtype.kind in "OU" or keys.dtype.kind in "OU":
        return _looked_up(x, keys, values, default)
    same = x[..., None] == keys.astype(x.dtype)
    if keys.dtype.kind == "f":  # NaN is a key too
        same = same | (jnp.isnan(x)[..., None] & np.isnan(keys))
    found = jnp.asarray(values)[jnp.argmax(same, -1)]
    return jnp.where(same.any(-1), found, default).astype(values.dtype)


def _looked_up(x, keys, values, default):
    table = dict(zip(keys.tolist(), values.tolist(), strict=True))
    found = [table.get(v, default) for v in on_host(x).reshape(-1).tolist()]
    return np.array(found, values.dtype).reshape(np.shape(x))


# ONNX's order of comparisons of a tree's node; 6 is membership.
_COMPARISONS = (
    jnp.less_equal,
    jnp.less,
    jnp.greater_equal,
    jnp.greater,
    jnp.equal,
    jnp.not_equal,
)
_MEMBER = 6


@_op("TreeEnsemble", 5)
def TreeEnsemble(
    x,
    *,
    aggregate_function=1,
    leaf_targetids,
    leaf_weights,
    membership_values=None,
    n_targets=None,
    nodes_falseleafs,
    nodes_falsenodeids,
    nodes_featureids,
    nodes_hitrates=None,
    nodes_missing_value_tracks_true=None,
    nodes_modes,
    nodes_splits,
    nodes_trueleafs,
    nodes_truenodeids,
    post_transform=0,
    tree_roots,
):
    """All trees at once, a level at a time; x (rows, features) → (rows, targets)."""
    if post_transform:
        raise NotImplementedError(f"post_transform {post_transform} is not supported")
    count = len(nodes_splits)
    # Leaves are numbered behind the nodes, and lead to themselves.
    leaves = count + np.arange(len(leaf_weights))
    yes = np.where(nodes_trueleafs, count + np.asarray(nodes_truenodeids), nodes_truenodeids)
    no = np.where(nodes_falseleafs, count + np.asarray(nodes_falsenodeids), nodes_falsenodeids)
    modes = np.asarray(nodes_modes)
    members = _members(membership_values, modes)
    missing = np.asarray(nodes_missing_value_tracks_true or [0] * count, bool)
    yes, no = (np.concatenate([v, leaves]) for v in (yes, no))
    features = np.concatenate([nodes_featureids, 0 * leaves])
    at = jnp.broadcast_to(jnp.asarray(_roots(tree_roots, yes, no)), (len(x), len(tree_roots)))
    depth = _depth(yes, no, tree_roots)
    yes, no = jnp.asarray(yes), jnp.asarray(no)
    for _ in range(depth):
        node = jnp.minimum(at, count - 1)
        value = jnp.take_along_axis(jnp.asarray(x), jnp.asarray(features)[at], 1)
        split = jnp.asarray(nodes_splits, x.dtype)[node]
        holds = jnp.any(value[..., None] == jnp.asarray(members, x.dtype)[node], -1)
        for mode, compare in enumerate(_COMPARISONS):
            holds = jnp.where(jnp.asarray(modes)[node] == mode, compare(value, split), holds)
        holds = holds | (jnp.isnan(value) & jnp.asarray(missing)[node])
        at = jnp.where(holds, yes[at], no[at])
    weights = jnp.asarray(leaf_weights, x.dtype)[at - count]
    targets = jnp.asarray(leaf_targetids)[at - count]
    return _aggregated(weights, targets, n_targets or 1, aggregate_function)


def _roots(roots, yes, no):
    """A tree that is a leaf has a node that leads to it either way."""
    return np.array([int(yes[r]) if yes[r] == no[r] else r for r in roots])


def _depth(yes, no, roots):
    """How many levels the deepest tree has."""
    depth, front = 0, set(roots)
    while True:
        after = {int(v) for i in front for v in (yes[i], no[i])}
        if after <= front or depth > len(yes):
            return depth
        depth, front = depth + 1, after


def _members(values, modes):
    """The members of each membership node, padded by NaN, which equals nothing."""
    rows, groups = [[] for _ in modes], iter(values if values is not None else ())
    for i in np.flatnonzero(modes == _MEMBER):
        for value in groups:
            if np.isnan(value):
                break
            rows[i].append(value)
    width = max([1, *map(len, rows)])
    return np.array([row + [np.nan] * (width - len(row)) for row in rows])


def _aggregated(weights, targets, n_targets, function):
    """Average, sum, least or largest of the leaves' weights, for each target."""
    hit = targets[..., None] == jnp.arange(n_targets)
    if function in (0, 1):
        total = jnp.sum(jnp.where(hit, weights[..., None], 0), 1)
        return total / weights.shape[1] if function == 0 else total
    limit = jnp.finfo(weights.dtype).max
    if function == 2:
        return jnp.min(jnp.where(hit, weights[..., None], limit), 1)
    return jnp.max(jnp.where(hit, weights[..., None], -limit), 1)

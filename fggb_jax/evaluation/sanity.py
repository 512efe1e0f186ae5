"""Sanity: a map of a network should change when the network's weights become random.

Adebayo et al., "Sanity Checks for Saliency Maps", arXiv 1810.03292, NeurIPS 2018: weights are
randomised in a cascade, from the output towards the image; here the last quarter of the arrays, the
last half, three quarters, all. What is compared is the map's magnitude, by Spearman's rank
correlation: |ρ(|S|, |S_random|)|. A method that gives the same map to a random network, such as an
edge detector does, explains the image and not the network.

Randomised is PERMUTED: the entries of each array change places. Its distribution stays and with it
the scale of what flows through the network, and a running variance stays positive, which entries
drawn anew would not ensure.
"""

from __future__ import annotations

import math
from typing import Any
from weakref import WeakKeyDictionary

import jax
import jax.numpy as jnp
import numpy as np

import onnx2jax
from fggb_jax.errors import ModelError
from fggb_jax.evaluation.correlation import spearman
from fggb_jax.evaluation.judgement import Case, Explainer, Scores, judge
from fggb_jax.models.face_model import FaceModel

SHARES = (0.25, 0.5, 0.75, 1.0)  # of the arrays, those nearest the output
SEED = 0


@judge(
    "sanity",
    "Randomised weights",
    {"rank_correlation": "lower"},
    {"randomised": ("share of the weights' arrays that are random", SHARES)},
)
def sanity(case: Case, explain: Explainer) -> Scores:
    """How much of the map is left when the weights are random; 1 + len(`SHARES`) explanations.

    Returns:
        `randomised`, |ρ| in [0, 1] for each of `SHARES`, and `rank_correlation`, their mean, NaN
        where one of them is. They are where a map is constant or a random network has no finite
        embedding, and for a `BlackBox`, which has no weights.
    """
    if not isinstance(case.model, FaceModel):
        return {"randomised": [float("nan")] * len(SHARES), "rank_correlation": float("nan")}
    before = np.abs(explain(case.probe, case.gallery).signed)
    curve = [_left(before, case, explain, model) for model in randomised(case.model)]
    return {"randomised": curve, "rank_correlation": float(np.mean(curve))}


def _left(before: np.ndarray, case: Case, explain: Explainer, model: FaceModel) -> float:
    try:
        after = explain(case.probe, case.gallery, model=model).signed
    except ModelError:  # a network may overflow when its weights are random
        return float("nan")
    return abs(spearman(before, np.abs(after)))


_RANDOMISED: WeakKeyDictionary[FaceModel, tuple[FaceModel, ...]] = WeakKeyDictionary()


def randomised(model: FaceModel) -> tuple[FaceModel, ...]:
    """The model with more and more of its weights permuted, one model for each of `SHARES`.

    They are made once for a model and kept as long as it lives: methods keep what they prepare of a
    model. Together they take the memory of one more copy of the weights. They have the model's
    function, card and hash, so that what was compiled for it runs for them.
    """
    if model not in _RANDOMISED:
        _RANDOMISED[model] = _cascade(model)
    return _RANDOMISED[model]


def _cascade(model: FaceModel) -> tuple[FaceModel, ...]:
    leaves, structure = jax.tree.flatten(model.params)
    random, order = _permuted(leaves), from_output(model)
    models = []
    for share in SHARES:
        chosen = set(order[: math.ceil(share * len(order))])
        mixed = [random[i] if i in chosen else leaf for i, leaf in enumerate(leaves)]
        params = jax.tree.unflatten(structure, mixed)
        models.append(FaceModel(model.function, params, model.card, model.sha256))
    return tuple(models)


def _permuted(leaves: list[Any]) -> list[Any]:
    rng = np.random.default_rng(SEED)

    def permute(leaf: Any) -> Any:
        arrays = isinstance(leaf, np.ndarray | jax.Array)
        if not arrays or not jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf  # an index or a shape: the network would not run
        values = rng.permutation(np.asarray(leaf).ravel()).reshape(leaf.shape)
        return values if isinstance(leaf, np.ndarray) else jnp.asarray(values)

    return [permute(leaf) for leaf in leaves]


def from_output(model: FaceModel) -> list[int]:
    """The indices of the leaves of a model's parameters, those used last first.

    A converted network's graph says where each is used; of another pytree only its own order is
    known, and it is taken for the order of use.
    """
    paths = [path for path, _ in jax.tree.leaves_with_path(model.params)]
    place = {path: index for index, path in enumerate(paths)}
    network = getattr(model.function, "network", None)
    if isinstance(network, onnx2jax.Model):
        reads = [name for node in network.graph.nodes for name in node.reads]
        used = {(jax.tree_util.DictKey(name),): i for i, name in reversed([*enumerate(reads)])}
        place = {path: used.get(path, len(reads)) for path in paths}
    return sorted(range(len(paths)), key=lambda index: -place[paths[index]])

"""Explainable face verification by feature-guided gradient backpropagation, in JAX.

>>> import fggb_jax as fx
>>> model = fx.load_model("dlib-resnet-v1")           # doctest: +SKIP
>>> e = fx.explain(model, probe, gallery)             # doctest: +SKIP
>>> e.cosine, e.threshold, e.decision                 # doctest: +SKIP
"""

from fggb_jax.attribution.calibrate import calibrate_norms
from fggb_jax.attribution.fggb import fggb
from fggb_jax.attribution.maps import FaceMap, PairMaps
from fggb_jax.attribution.registry import methods
from fggb_jax.errors import FggbError, ImageError, ModelError, OptionError
from fggb_jax.explain import explain
from fggb_jax.explain_many import ProbeMaps, explain_one_to_many, explain_pairs
from fggb_jax.explanation import Explanation
from fggb_jax.models.black_box import BlackBox
from fggb_jax.models.card import Card
from fggb_jax.models.face_model import FaceModel
from fggb_jax.models.load import cards, load_model

__all__ = [
    "BlackBox",
    "Card",
    "Explanation",
    "FaceMap",
    "FaceModel",
    "FggbError",
    "ImageError",
    "ModelError",
    "OptionError",
    "PairMaps",
    "ProbeMaps",
    "calibrate_norms",
    "cards",
    "explain",
    "explain_one_to_many",
    "explain_pairs",
    "fggb",
    "load_model",
    "methods",
]

"""The layers of dlib's networks: what each writes into the file, and the shape it gives.

A new layer is a new file here, a combinator in `grammar.py` and a function in `emit.py`.
"""

from dlib2onnx.layers.affine import Affine
from dlib2onnx.layers.base import Layer, Shape, Tags, Weights
from dlib2onnx.layers.bn_con import BnCon
from dlib2onnx.layers.branch import AddPrevious, Skip, Tag
from dlib2onnx.layers.con import Con
from dlib2onnx.layers.fc import Fc
from dlib2onnx.layers.input import Input, PyramidInput
from dlib2onnx.layers.loss import LossMetric, LossMmod
from dlib2onnx.layers.pool import AveragePool, MaxPool
from dlib2onnx.layers.relu import Relu

__all__ = [
    "AddPrevious",
    "Affine",
    "AveragePool",
    "BnCon",
    "Con",
    "Fc",
    "Input",
    "Layer",
    "LossMetric",
    "LossMmod",
    "MaxPool",
    "PyramidInput",
    "Relu",
    "Shape",
    "Skip",
    "Tag",
    "Tags",
    "Weights",
]

"""A model of one operator, and what onnxruntime makes of it."""

import numpy as np
import onnx
import onnxruntime
from onnx import helper

import onnx2jax


def model(op, inputs, outputs, opset, domain="", **attributes):
    """One node; inputs as arrays by name (None where absent), outputs as names."""
    given = {name: x for name, x in inputs.items() if x is not None}
    node = helper.make_node(
        op, [name if name in given else "" for name in inputs], outputs, domain=domain, **attributes
    )
    specs = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
        for n, x in given.items()
    ]
    results = [onnx.ValueInfoProto(name=name) for name in outputs if name]
    return helper.make_model(
        helper.make_graph([node], op, specs, results),
        opset_imports=[helper.make_opsetid(domain, opset)],
        ir_version=10,
    )


def function(op, x, **others):
    """The operator as a function of its first input, which is of x's shape and type."""
    m = onnx2jax.load(model(op, {"x": x, **others}, ["y"], 17))
    return lambda x: m(m.params, x, *others.values())


def ours(proto, inputs):
    m = onnx2jax.load(proto)
    found = m(m.params, *(x for x in inputs.values() if x is not None))
    return [np.asarray(y) for y in (found if isinstance(found, tuple) else (found,))]


def onnxruntimes(proto, inputs):
    return session(proto).run(None, {name: x for name, x in inputs.items() if x is not None})


def session(proto, fused=True):
    """onnxruntime's, with its fused nodes or node by node."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if not fused:
        level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.graph_optimization_level = level
    return onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

import pytest

import onnx2jax
from onnx2jax import registry


@pytest.mark.parametrize(
    ("opset", "since"), [(1, 1), (10, 1), (11, 11), (12, 11), (13, 11), (99, 11)]
)
def test_the_greatest_version_not_above_the_opset_wins(opset, since):
    assert registry.find("", "Clip", opset).since == since


def test_no_version_at_so_low_an_opset():
    assert registry.find("", "Resize", 9) is None
    assert registry.find("", "NoSuchOperator", 20) is None


def test_a_version_is_registered_once():
    with pytest.raises(ValueError, match="Relu-1 of domain '' is registered twice"):
        onnx2jax.op("Relu", 1)(lambda x: x)


def test_every_operator_exists_in_onnx_at_its_version():
    """Names and attributes are those of the specification, so typing errors cannot hide."""
    import onnx

    known = {(s.domain, s.name) for s in onnx.defs.get_all_schemas_with_history()}
    for operator in onnx2jax.operators():
        if operator.domain == "com.microsoft":  # onnxruntime's own, of which onnx knows nothing
            continue
        assert (operator.domain, operator.name) in known
        attributes = set()
        for schema in onnx.defs.get_all_schemas_with_history():
            if (schema.domain, schema.name) == (operator.domain, operator.name):
                attributes.update(schema.attributes)
        assert set(operator.attributes) <= attributes, str(operator)

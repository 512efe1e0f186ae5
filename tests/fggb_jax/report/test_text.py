from fggb_jax.report.text import printable


def test_letters_without_a_glyph_are_replaced_and_nothing_else_changes():
    assert printable("S ≥ t·Q   $x$") == "S ≥ t·Q   $x$"
    assert printable("模型 A") == "�� A"

"""Text in figures: the one font, and what it can write."""

from __future__ import annotations

from matplotlib.font_manager import findfont, get_font

FONT = "DejaVu Sans"  # comes with matplotlib, so that a figure is the same everywhere


def printable(text: str) -> str:
    """The text, with U+FFFD for each letter that the font lacks: no warning, no empty box.

    Example:
        >>> printable("S ≥ t, \N{CJK UNIFIED IDEOGRAPH-4E2D}")
        'S ≥ t, �'
    """
    font = get_font(findfont(FONT))
    return "".join(c if font.get_char_index(ord(c)) else "\N{REPLACEMENT CHARACTER}" for c in text)

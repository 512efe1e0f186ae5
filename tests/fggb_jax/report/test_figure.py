import sys
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from fggb_jax.report import colors
from fggb_jax.report.figure import draw


def texts(figure):
    """Every word on the figure, the headline's boxes included."""
    found = figure.findobj(lambda artist: hasattr(artist, "get_text"))
    return [text for artist in found if (text := artist.get_text())]


def pixels(figure):
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba()).copy()


@pytest.mark.parametrize(
    ("threshold", "words"),
    [
        (0.25, ["accept:", "cosine 0.5000 ≥ threshold 0.2500"]),
        (0.75, ["reject:", "< threshold 0.750"]),
    ],
)
def test_the_headline_says_the_verdict_in_words(portraits, threshold, words):
    shown = " | ".join(texts(draw(portraits.at(threshold))))
    assert all(word in shown for word in words)
    assert "Threshold" in shown
    assert "a-model" in shown
    assert "fggb (gradient=magnitude)" in shown


def test_a_comparison_never_looks_like_an_equality(portraits):
    shown = " | ".join(texts(draw(replace(portraits, cosine=0.50004, threshold=0.50001))))
    assert "cosine 0.50004 ≥ threshold 0.50001" in shown


def test_the_four_maps_are_drawn_with_the_colours_of_the_common_scale(portraits):
    figure = draw(portraits)
    panels = colors.panels(portraits)
    overlays = [a.images[1].get_array() for a in figure.axes if len(a.images) == 2]
    expected = [
        panels[kind][face].overlay()
        for face in ("probe", "gallery")
        for kind in ("similarity", "dissimilarity", "pair_specific")
    ]
    assert len(overlays) == len(expected)
    for got, want in zip(overlays, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(got), want)


def test_an_empty_map_is_the_plain_face_with_the_word(one_sided):
    figure = draw(one_sided)
    empty = [axes for axes in figure.axes if any(t.get_text() == "empty" for t in axes.texts)]
    assert len(empty) == 4  # dissimilarity of both faces; and P = cos·Q: nothing pair-specific
    assert all(len(axes.images) == 1 for axes in empty)
    np.testing.assert_array_equal(
        empty[0].images[0].get_array(), colors.washed(one_sided.probe_image)
    )


@pytest.mark.parametrize("shape", [(150, 150), (96, 80)])
def test_other_sizes(make, shape):
    p = np.random.default_rng(0).normal(size=shape) * 1e-5
    figure = draw(make([(p, abs(p)), (p, abs(p))]), smoothing=2)
    box = figure.axes[0].get_position()
    w, h = figure.get_size_inches()
    assert box.height * h / (box.width * w) == pytest.approx(shape[0] / shape[1])
    assert any("σ = 2 pixels" in text for text in texts(figure))
    assert any("×10⁻⁶" in text for text in texts(figure))


def test_the_same_explanation_gives_the_same_pixels(portraits):
    np.testing.assert_array_equal(pixels(draw(portraits)), pixels(draw(portraits)))


def test_names_that_are_no_typography_are_drawn_as_they_are(make):
    p = np.eye(8)
    e = make([(p, p), (p, p)], model="$\\frac{$ 模型\n", threshold_source="x" * 400)
    figure = draw(e)
    pixels(figure)  # a missing glyph or a formula would warn or raise here
    assert any("$\\frac{$ ��" in text for text in texts(figure))


def test_a_provenance_with_nothing_in_it_is_drawn(portraits):
    shown = " ".join(texts(draw(replace(portraits, provenance={}))))
    assert "source not stated" in shown


def test_a_method_without_a_threshold_says_so(make):
    p = np.eye(8)
    shown = " ".join(texts(draw(make([(p, 0 * p), (p, 0 * p)], method="occlusion"))))
    assert "knows no threshold" in shown


def test_pyplot_is_not_involved(portraits, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it would raise
    assert isinstance(draw(portraits), Figure)

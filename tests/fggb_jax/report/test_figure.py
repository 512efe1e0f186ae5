import sys
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from fggb_jax.explanation import Placement
from fggb_jax.report import colors, photographs
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


def test_a_map_of_frequencies_lies_on_grey_and_on_no_photograph(frequencies):
    figure = draw(frequencies)
    below = [axes.images[0].get_array() for axes in figure.axes if len(axes.images) == 2]
    assert len(below) == 6
    grey = colors.washed(np.full_like(frequencies.probe_image, 128))
    assert all(np.array_equal(image, grey) for image in below)
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), frequencies.probe_image)
    assert "their axes are spatial frequencies" in " ".join(texts(figure))
    assert not on_photographs(figure)


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


def on_photographs(figure):
    """The axes with a photograph: itself, the face in grey, and the map where it is not empty."""
    return [axes for axes in figure.axes if len(axes.patches) == 2]


def test_one_photograph_alone_or_none_changes_nothing(portraits, placed):
    one = pixels(draw(replace(placed, gallery_placement=None)))
    np.testing.assert_array_equal(one, pixels(draw(portraits)))


def test_the_photographs_come_below_and_all_else_stays(portraits, placed):
    without, figure = draw(portraits), draw(placed)
    (width, lower), (same, higher) = without.get_size_inches(), figure.get_size_inches()
    assert same == width
    assert lower + 3 < higher < lower + 6
    rows = round(5 * figure.dpi)
    # A letter's edge may be rounded another way where the figure's height is another.
    assert (pixels(figure)[:rows] != pixels(without)[:rows]).mean() < 1e-4
    assert len(on_photographs(figure)) == 2
    shown = " ".join(texts(figure))
    assert shown.count("The whole photograph, 320 × 400 pixels") == 2


@pytest.mark.parametrize(("threshold", "kind"), [(0.25, "similarity"), (0.75, "dissimilarity")])
def test_on_the_photographs_lies_the_map_that_decides_on_the_common_scale(placed, threshold, kind):
    e = placed.at(threshold)
    panels, views = colors.panels(e), photographs.views(e, 960)
    for face, axes in zip(colors.FACES, on_photographs(draw(e)), strict=True):
        panel = panels[kind][face]
        expected = replace(panel, values=views[face].draw(panel.values, 960)).overlay()
        np.testing.assert_array_equal(np.asarray(axes.images[2].get_array()), expected)
        assert expected.any()
        line = axes.patches[1].get_xy()[:4]
        np.testing.assert_allclose(line, views[face].outline)


def test_a_hot_pixel_is_seen_where_it_was_cut_from(make):
    """In the figure's own pixels, on a photograph that is cropped and made smaller."""
    p = np.zeros((60, 60))
    p[20, 40] = 1
    matrix = np.array([[0.08, 0, -80.0], [0, 0.08, -80.0]])  # the pixel is that at (1500, 1250)
    place = Placement(np.full((3000, 4000, 3), 128, np.uint8), matrix)
    e = replace(make([(p, 0 * p)] * 2), probe_placement=place, gallery_placement=place)
    view = photographs.views(e, 960)["probe"]
    first = np.linalg.solve(matrix[:, :2], view.matrix[:, 2] - matrix[:, 2])  # in the photograph
    figure = draw(e)
    image = pixels(figure).astype(int)
    for axes in on_photographs(figure):
        row, column = warm(image, axes).mean(axis=0)
        at = axes.transData.inverted().transform((column + 0.5, len(image) - row - 0.5))
        found = first + at * view.part[1] / view.photo.shape[1]
        pixel = view.part[1] / axes.get_window_extent().width  # of the figure, in the photograph's
        np.testing.assert_allclose(found, (1500, 1250), atol=pixel)


def warm(image, axes):
    """(N, 2), row and column: the figure's pixels in the axes that are clearly warm."""
    box = axes.get_window_extent()
    inside = np.zeros(image.shape[:2], bool)
    rows = len(image) - np.array([box.y1, box.y0]).round().astype(int)
    inside[rows[0] : rows[1], round(box.x0) : round(box.x1)] = True
    return np.argwhere(inside & (image[..., 0] - image[..., 2] > 40))


def test_an_empty_map_says_so_on_the_face(placed):
    zero = [replace(f, p=0 * f.p, q=0 * f.q) for f in (placed.probe, placed.gallery)]
    figure = draw(replace(placed, probe=zero[0], gallery=zero[1]))
    for axes in on_photographs(figure):
        assert len(axes.images) == 2
        assert [text.get_text() for text in axes.texts] == ["empty"]


def test_a_photograph_of_12_megapixels_does_not_make_the_figure_heavy(placed):
    photo = np.zeros((3000, 4000, 3), np.uint8)
    matrix = np.array([[0.04, 0, -20.0], [0, 0.04, -4.0]])
    place = Placement(photo, matrix)
    figure = draw(replace(placed, probe_placement=place, gallery_placement=place))
    for axes in on_photographs(figure):
        assert all(max(image.get_array().shape) <= 960 for image in axes.images)

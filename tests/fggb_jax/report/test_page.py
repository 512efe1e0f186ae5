import base64
import hashlib
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from fggb_jax.explanation import Placement
from fggb_jax.faces import draw_back
from fggb_jax.report import colors, photographs, words
from fggb_jax.report.colors import FACES, KINDS
from fggb_jax.report.page import render

NODE = shutil.which("node")
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\u2028&\"'"


class Tags(HTMLParser):
    """All tags with their attributes, and the text of each script."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.scripts, self.inside = [], [], False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")
            self.inside = True

    def handle_endtag(self, tag):
        self.inside &= tag != "script"

    def handle_data(self, data):
        if self.inside:
            self.scripts[-1] += data


@pytest.fixture(scope="module")
def page(portraits):
    return render(portraits)


@pytest.fixture(scope="module")
def placed_page(placed):
    return render(placed)


def data_of(page):
    return json.loads(Tags(page).scripts[0])


def in_node(page, calls):
    """Run the page's own script in node; `calls` is JavaScript that returns a value."""
    if NODE is None:
        pytest.skip("node is not on PATH: the page's script cannot be run")
    program = """
    const [script, data, calls] = JSON.parse(require("fs").readFileSync(0, "utf-8"));
    const context = require("vm").createContext({ atob });
    const run = (code) => require("vm").runInContext(code, context);
    run(script);
    context.data = run("fggb").decode(JSON.parse(data));
    process.stdout.write(JSON.stringify(run(`(() => { ${calls} })()`)));
    """
    data, script = Tags(page).scripts
    done = subprocess.run(
        [NODE, "-e", program],
        input=json.dumps([script, data, calls]),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_embedded_maps_are_the_maps(page, portraits):
    maps = data_of(page)["maps"]
    for face in FACES:
        for name in ("p", "q"):
            values = np.frombuffer(base64.b64decode(maps[face][name]), "<f4")
            expected = getattr(getattr(portraits, face), name)
            np.testing.assert_array_equal(values.reshape(expected.shape), expected)


def test_the_headline_says_the_verdict_without_the_script(page, portraits):
    assert re.search(r'<b id="decision">accept</b>', page)
    assert "cosine 0.5000 ≥ threshold 0.2500" in page
    assert portraits.provenance["model_sha256"] in page
    assert "CC0-1.0" in page


@pytest.mark.parametrize("name", ["page", "placed_page"])
def test_nothing_is_fetched(request, name):
    page = request.getfixturevalue(name)
    for tag, attributes in Tags(page).tags:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        for name in ("src", "href", "xlink:href", "srcset", "action", "poster"):
            assert re.match("data:image/(png|jpeg);", attributes.get(name, "data:image/png;"))
    assert "http" not in re.sub("http-equiv", "", page)
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|import\(", page)


def test_the_policy_admits_this_script_alone(page):
    policy = next(a for t, a in Tags(page).tags if a.get("http-equiv"))["content"]
    script = Tags(page).scripts[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy
    assert "http" not in policy


def test_hostile_names_stay_text(make):
    p = np.eye(8)
    e = make([(p, p), (p, p)], model=HOSTILE, options={HOSTILE: HOSTILE}, threshold_source=HOSTILE)
    tags = Tags(render(e)).tags
    assert sum(tag == "script" for tag, _ in tags) == 2
    place = Placement(np.zeros((9, 9, 3), np.uint8), np.eye(2, 3))
    tags += Tags(render(replace(e, probe_placement=place, gallery_placement=place))).tags
    assert sum(tag == "script" for tag, _ in tags) == 4
    assert not any("onerror" in attributes for _, attributes in tags)
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in render(e)


def test_the_same_explanation_gives_the_same_bytes(page, portraits, placed_page, placed):
    assert render(portraits) == page
    assert render(placed) == placed_page


def test_a_page_of_150_pixels_stays_small(make):
    random = np.random.default_rng(0)  # noise: nothing compresses
    maps = [(random.normal(size=(150, 150)), random.random((150, 150))) for _ in FACES]
    images = [random.integers(0, 256, (150, 150, 3)).astype(np.uint8) for _ in FACES]
    e = make(maps, images=images)
    assert len(render(e).encode()) < 1.21e6
    photo = random.integers(0, 256, (1200, 1000, 3)).astype(np.uint8)
    place = Placement(photo, np.array([[0.2, 0, -20.0], [0, 0.2, -30.0]]))
    e = replace(e, probe_placement=place, gallery_placement=place)
    assert len(render(e).encode()) < 1.8e6


def test_still_maps_say_where_they_are_empty(one_sided):
    page = render(one_sided)
    assert page.count('<span class="empty">empty</span>') == 2  # P = cos·Q: nothing pair-specific
    assert page.count("dissimilarity 0 % (empty)") == 2


def pngs(page):
    """The images of a page's panels by their class, the faces' own None."""
    found = [a for tag, a in Tags(page).tags if tag == "img" and "png" in a["src"]]
    data = [(a.get("class"), a["alt"], a["src"].split(",")[1]) for a in found]
    return [
        (kind, alt, np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))))
        for kind, alt, text in data
    ]


def test_a_map_of_frequencies_lies_on_grey_and_on_no_photograph(frequencies):
    page = render(frequencies)
    assert "their axes are spatial frequencies" in page
    assert "On the photographs" not in page
    panels = colors.panels(frequencies)
    flat = np.full_like(frequencies.probe_image, 128)
    expected = colors.composite(flat, panels["signed"]["probe"].overlay())
    shown = pngs(page)
    assert [np.ptp(image) for kind, _, image in shown if kind == "washed"] == [0, 0]
    np.testing.assert_array_equal(shown[0][2], frequencies.probe_image)
    np.testing.assert_array_equal(
        next(image for _, alt, image in shown if alt == "Signed map of the probe"), expected
    )


def test_a_page_without_provenance(make):
    e = make([(np.eye(8), np.eye(8))] * 2)
    assert "source not stated" in render(type(e)(**vars(e) | {"provenance": {}}))


def test_the_page_computes_the_bits_of_s(page, portraits):
    thresholds = [0.25, 0.1234567, -1.0, 0.5]
    js = f"return {thresholds}.map((t) => fggb.FACES.map((f) => [...fggb.signed(data.maps[f], t)]))"
    for t, both in zip(thresholds, in_node(page, js), strict=True):
        for face, got in zip(FACES, both, strict=True):
            expected = getattr(portraits.at(t), face).signed
            np.testing.assert_array_equal(np.asarray(got, np.float32), expected.ravel())


@pytest.mark.parametrize("fixture", ["portraits", "one_sided", "faint"])
def test_the_page_shows_what_the_figure_shows(request, fixture):
    e = request.getfixturevalue(fixture)
    sigmas = [0, 1.5]
    js = f"""
    const show = (kind, sigma) => {{
      const panels = fggb.panels(data, kind, 0.4, sigma);
      return fggb.FACES.map((f) => ({{
        ...panels[f], values: null, rgba: [...fggb.overlay(panels[f], kind, data.tables)],
      }}));
    }};
    return {sigmas}.map((sigma) => {json.dumps(KINDS)}.map((kind) => show(kind, sigma)));"""
    for sigma, shown in zip(sigmas, in_node(render(e), js), strict=True):
        panels = colors.panels(e.at(0.4), sigma)
        for kind, both in zip(KINDS, shown, strict=True):
            for face, got in zip(FACES, both, strict=True):
                compare(got, panels[kind][face], exactly=sigma == 0)


def compare(got, panel, exactly):
    """A panel of the page with the figure's."""
    assert got["empty"] == panel.empty
    assert got["scale"] == pytest.approx(panel.scale, rel=1e-6)
    assert got["share"] == pytest.approx(panel.share, rel=1e-6)
    rgba = np.asarray(got["rgba"]).reshape(panel.overlay().shape)
    # A smoothed value between two of the 256 colours may fall on either side.
    assert np.abs(rgba - panel.overlay().astype(int)).max() <= (0 if exactly else 12)


def test_the_page_says_it_in_the_figures_words(page, portraits):
    pairs = [(0.5, 0.25), (-0.07076, 0.252), (0.50004, 0.50001), (0.3, 0.3), (-0.0001, 0.0)]
    pairs += [(0.0625, -0.0625)]  # a half: it must round the same way
    shares = [None, 0, 0.0004, 0.105, 0.9996, 1, 2.5, 0.0625]
    scales = [0.0227, 5.4e-6, 3.2, 1234.5, 0]
    js = f"""return [
      {[list(pair) for pair in pairs]}.map(([c, t]) => fggb.verdict(c, t)),
      {json.dumps(shares)}.map(fggb.percent),
      {scales}.map((x) => [fggb.significant(x), fggb.power(fggb.exponent(x))]),
    ];"""
    verdicts, percents, numbers = in_node(page, js)
    for (cosine, t), got in zip(pairs, verdicts, strict=True):
        e = type(portraits)(**vars(portraits) | {"cosine": cosine, "threshold": t})
        assert got == {"decision": e.decision, "score": words.score(e)}
    assert percents == [words.percent(share) for share in shares]
    assert numbers == [[words.significant(x), words.power(words.exponent(x))] for x in scales]


def test_no_photograph_no_section(page, portraits, placed):
    assert "On the photographs" not in page
    assert "image/jpeg" not in page
    assert data_of(page)["photographs"] == {}
    assert render(replace(placed, gallery_placement=None)) == page


def jpegs(page):
    """The photographs of a page, as arrays."""
    found = re.findall(r'src="data:image/jpeg;base64,([^"]*)"', page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))) for text in found]


def test_the_photographs_are_in_the_page(placed_page, placed):
    assert "On the photographs" in placed_page
    assert placed_page.count("The whole photograph, 320 × 400 pixels") == 2
    places = (placed.probe_placement, placed.gallery_placement)
    for got, place in zip(jpegs(placed_page), places, strict=True):
        assert np.abs(got.astype(float) - place.photo).mean() < 3


def test_large_photographs_are_cropped_and_made_smaller(portraits):
    photo = np.zeros((3000, 4000, 3), np.uint8)
    place = Placement(photo, np.array([[0.12, 0, -170.0], [0, 0.12, -130.0]]))
    page = render(replace(portraits, probe_placement=place, gallery_placement=place))
    assert [max(image.shape) for image in jpegs(page)] == [900, 900]
    assert page.count("of the photograph’s 4000 × 3000 pixels") == 2


def test_the_outline_in_the_page_is_the_faces(placed_page, placed):
    views = photographs.views(placed, 900)
    lines = [a for tag, a in Tags(placed_page).tags if tag == "polygon"]
    assert len(lines) == 4  # a light one on a dark one, twice
    for line, face in zip(lines[::2], FACES, strict=True):
        corners = np.array([point.split(",") for point in line["points"].split()], float)
        # SVG counts from the corner of the first pixel, the outline from its centre.
        np.testing.assert_allclose(corners - 0.5, views[face].outline, atol=0.01)


@pytest.mark.parametrize("n", [1, 3])
def test_the_page_draws_a_hot_pixel_where_it_was_cut_from(placed_page, placed, n):
    """The page's own drawing, on a canvas that keeps where the face's pixel (70, 31) went."""
    js = f"""
    const clear = [];
    let m = null;
    const seen = fggb.FACES.map((face) => {{
      let place = null;
      const context = {{
        setTransform: (...values) => {{ m = values; }},
        clearRect: (...box) => clear.push([...m, ...box]),
        drawImage: (image, x, y) => {{
          const [a, b, c, d, e, f] = m;
          const [u, v] = [x + image.x + 0.5, y + image.y + 0.5];
          place = [a * u + c * v + e, b * u + d * v + f];
        }},
      }};
      fggb.drawBack(context, {{ x: 70, y: 31 }}, data.photographs[face], {n});
      return place;
    }});
    return [seen, clear];"""
    seen, clear = in_node(placed_page, js)
    values = np.zeros((112, 112), np.float32)
    values[31, 70] = 1
    for face, place in zip(FACES, seen, strict=True):
        placement = getattr(placed, f"{face}_placement")
        drawn = draw_back.to_photo(values, placement.matrix, placement.photo.shape[:2])
        y, x = np.mgrid[: drawn.shape[0], : drawn.shape[1]]
        centre = np.array([(x * drawn).sum(), (y * drawn).sum()]) / drawn.sum()
        np.testing.assert_allclose(np.array(place) / n - 0.5, centre, atol=0.3)
    assert clear == [[1, 0, 0, 1, 0, 0, 0, 0, 320 * n, 400 * n]] * 2

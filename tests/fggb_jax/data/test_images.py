import io

import numpy as np
import pytest
from PIL import Image

import fggb_jax as fx
from fggb_jax.data import images


@pytest.fixture
def rgb():
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def read(image, tmp_path, name="i.png", **options):
    path = tmp_path / name
    image.save(path, **options)
    notes = []
    return images.read_image(path, notes.append), notes


def test_rgb_is_read_as_it_is(rgb, tmp_path):
    pixels, notes = read(Image.fromarray(rgb), tmp_path)
    np.testing.assert_array_equal(pixels, rgb)
    assert notes == []


@pytest.mark.parametrize("orientation", range(2, 9))
def test_exif_orientation_is_applied(rgb, tmp_path, orientation):
    """All eight: the stored pixels are turned by Pillow's own inverse first."""
    turns = {
        2: "FLIP_LEFT_RIGHT",
        3: "ROTATE_180",
        4: "FLIP_TOP_BOTTOM",
        5: "TRANSPOSE",
        6: "ROTATE_90",
        7: "TRANSVERSE",
        8: "ROTATE_270",
    }
    stored = Image.fromarray(rgb).transpose(Image.Transpose[turns[orientation]])
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels, notes = read(stored, tmp_path, exif=exif)
    np.testing.assert_array_equal(pixels, rgb)
    assert "turned upright" in notes[0]


def test_grey_has_three_equal_channels(rgb, tmp_path):
    pixels, notes = read(Image.fromarray(rgb[..., 0]), tmp_path)
    np.testing.assert_array_equal(pixels, np.repeat(rgb[..., :1], 3, 2))
    assert "grey converted to RGB" in notes[0]


def test_sixteen_bits_are_reduced(rgb, tmp_path):
    deep = rgb[..., 0].astype(np.uint16) * 257
    pixels, notes = read(Image.fromarray(deep), tmp_path)
    np.testing.assert_array_equal(pixels, np.repeat(rgb[..., :1], 3, 2))
    assert "16-bit" in notes[0]


def test_palettes_are_resolved(rgb, tmp_path):
    palette = Image.fromarray(rgb).quantize(8)
    pixels, notes = read(palette, tmp_path)
    np.testing.assert_array_equal(pixels, np.asarray(palette.convert("RGB")))
    assert "palette" in notes[0]


def test_transparent_pixels_lie_on_white(rgb, tmp_path):
    layered = np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])
    layered[0, 0, 3] = 0
    pixels, notes = read(Image.fromarray(layered), tmp_path)
    assert pixels[0, 0].tolist() == [255] * 3
    np.testing.assert_array_equal(pixels[1:], rgb[1:])
    assert "white" in notes[0]


def test_bytes_in_memory_are_decoded_like_files(rgb):
    stream = io.BytesIO()
    Image.fromarray(rgb[..., 0]).save(stream, "png")
    notes = []
    pixels = images.decode_image(stream, "set.bin[7]", notes.append)
    np.testing.assert_array_equal(pixels, np.repeat(rgb[..., :1], 3, 2))
    assert notes == ["set.bin[7]: grey converted to RGB"]
    with pytest.raises(fx.ImageError, match=r"set\.bin\[7\] is not an image.*JPEG"):
        images.decode_image(io.BytesIO(b"text"), "set.bin[7]")


def test_truncated_files_are_named(rgb, tmp_path):
    path = tmp_path / "cut.jpg"
    Image.fromarray(np.repeat(np.repeat(rgb, 8, 0), 8, 1)).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(fx.ImageError, match=r"cut\.jpg cannot be decoded"):
        images.read_image(path)


def test_a_text_file_is_no_image(tmp_path):
    path = tmp_path / "note.png"
    path.write_text("hello")
    with pytest.raises(fx.ImageError, match=r"note\.png is not an image.*JPEG"):
        images.read_image(path)
    with pytest.raises(fx.ImageError, match="no such image"):
        images.read_image(tmp_path / "none.png")


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    path = tmp_path / "bomb.png"
    Image.new("1", (11000, 11000)).save(path)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("it was decoded"))
    with pytest.raises(fx.ImageError, match=r"11000×11000 pixels; at most 100,000,000"):
        images.read_image(path)


def test_what_pillow_itself_calls_a_bomb_is_refused(tmp_path):
    path = tmp_path / "bomb.png"
    Image.new("1", (20000, 20000)).save(path)
    with pytest.raises(fx.ImageError, match=r"has more pixels than .* 100,000,000"):
        images.read_image(path)


def test_resizing_keeps_the_proportions(rgb):
    assert images.resize_aligned(rgb, (20, 30), "i") is rgb
    assert images.resize_aligned(rgb, (40, 60), "i").shape == (40, 60, 3)
    with pytest.raises(fx.ImageError, match=r"30×20 pixels; the model takes .* 60×60"):
        images.resize_aligned(rgb, (60, 60), "i")


def test_flat_colours_survive_resizing():
    flat = np.full((100, 100, 3), 77, np.uint8)
    assert (images.resize_aligned(flat, (31, 31), "i") == 77).all()

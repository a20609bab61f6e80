"""Pictures of every make that a visitor gives."""

from __future__ import annotations

import base64
import io
import os

import gradio as gr
import numpy as np
import pytest
from gradio.data_classes import ImageData
from PIL import Image

from app.inputs import SafeImage
from drople.images import MAX_SIDE, read_image


def given(path):
    """What the app makes of a file that a visitor gave."""
    return SafeImage(type="pil").preprocess(ImageData(path=str(path), orig_name=path.name))


@pytest.fixture
def noise():
    """Pixels of noise, (40, 30, 3)."""
    return np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "bmp", "gif", "tiff"])
def test_every_usual_format_is_read_as_rgb(tmp_path, noise, ending):
    path = tmp_path / f"picture.{ending}"
    Image.fromarray(noise).save(path)
    picture = given(path)
    assert (picture.mode, picture.size) == ("RGB", (30, 40))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "I", "F"])
def test_every_kind_of_pixel_becomes_rgb(tmp_path, noise, mode):
    path = tmp_path / "picture.tiff"
    Image.fromarray(noise[..., 0]).convert(mode if mode != "I;16" else "I").convert(mode).save(path)
    assert given(path).mode == "RGB"


def test_a_cmyk_picture_keeps_its_colours(tmp_path):
    path = tmp_path / "red.jpg"
    Image.new("RGB", (32, 32), "red").convert("CMYK").save(path, quality=100)
    red, green, blue = np.asarray(given(path))[16, 16]
    assert red > 220
    assert max(green, blue) < 40


def test_a_picture_of_16_bits_is_scaled_and_not_clipped(tmp_path):
    path = tmp_path / "grey.png"
    Image.fromarray(np.full((32, 32), 32768, dtype=np.uint16)).save(path)
    np.testing.assert_array_equal(np.asarray(given(path)), 128)


def test_what_is_transparent_becomes_white(tmp_path):
    path = tmp_path / "clear.png"
    Image.new("RGBA", (32, 32), (255, 0, 0, 0)).save(path)
    np.testing.assert_array_equal(np.asarray(given(path)), 255)


@pytest.mark.parametrize("ending", ["gif", "webp", "png"])
def test_of_an_animation_the_first_frame_is_read(tmp_path, ending):
    path = tmp_path / f"moving.{ending}"
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("blue", "red", "green")]
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
    assert tuple(np.asarray(given(path))[16, 16]) == (0, 0, 255)


def test_a_photograph_is_turned_upright_and_loses_its_metadata(tmp_path, noise):
    path, exif = tmp_path / "turned.png", Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"  # turn it to the right; who made it
    Image.fromarray(noise).save(path, exif=exif)
    picture = given(path)
    np.testing.assert_array_equal(np.asarray(picture), np.rot90(noise, -1))
    assert not picture.getexif()


def test_a_large_photograph_is_shrunk(tmp_path):
    path = tmp_path / "large.png"
    Image.new("1", (MAX_SIDE * 2, 64)).save(path)
    assert given(path).size == (MAX_SIDE, 32)


def of_text(path):
    path.write_text("I am no picture")


def empty(path):
    path.write_bytes(b"")


def cut_off(path):
    Image.effect_noise((64, 64), 50).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:700])


def of_one_pixel(path):
    Image.new("RGB", (1, 1)).save(path, "PNG")


def enormous(path):
    Image.new("1", (6000, 6000)).save(path, "PNG")


def drawn_as_svg(path):
    path.write_text("<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (of_text, "not a picture that can be read here"),
        (empty, "empty"),
        (cut_off, "damaged or incomplete"),
        (of_one_pixel, "at least 16 pixels a side"),
        (enormous, "megapixels"),
        (drawn_as_svg, "not a picture that can be read here"),
    ],
)
def test_a_file_that_is_no_good_picture_is_refused_in_words(tmp_path, make, words):
    path = tmp_path / "picture.jpg"
    make(path)
    with pytest.raises(gr.Error) as caught:
        given(path)
    assert words in caught.value.message


def test_a_picture_inside_an_address_is_refused(noise):
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    url = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    with pytest.raises(gr.Error) as caught:
        SafeImage(type="pil").accept({"url": url})
    assert caught.value.message == "Send the picture as a file."


def test_no_picture_is_none():
    assert SafeImage(type="pil").preprocess(None) is None


def test_a_picture_is_decoded_once_until_its_file_changes(tmp_path, monkeypatch):
    read, file = [], tmp_path / "a.png"
    monkeypatch.setattr("app.inputs.read_image", lambda path: read.append(path) or read_image(path))
    for value, events in ((10, 3), (20, 2)):
        Image.new("RGB", (20, 20), (value, 0, 0)).save(file)
        os.utime(file, ns=(value, value))
        image = SafeImage(type="pil")
        payload = ImageData(path=str(file), orig_name=file.name)
        assert {image.preprocess(payload).getpixel((0, 0))[0] for _ in range(events)} == {value}
    assert len(read) == 2

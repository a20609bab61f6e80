"""Reading pictures from outside: what comes out of every kind of file, or what is said."""

from __future__ import annotations

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
from PIL import Image, ImageOps

from drople.errors import ImageError
from drople.images import MAX_SIDE, as_rgb, read_image

NOISE = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)
ORIENTATION, MAKER, GPS = 0x0112, 0x010F, 0x8825  # EXIF tags


def coded(image, kind, **options):
    """A picture as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def read(data):
    return np.asarray(read_image(io.BytesIO(data)))


def png_header(width, height):
    """A PNG that says how large it is and holds nothing more."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(body))
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + crc
    return start + struct.pack(">I", 2**20) + b"IDAT"


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "WEBP"])
def test_lossless_formats_are_read_exactly(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    flat = np.where(NOISE > 128, 255, 0).astype(np.uint8)  # eight colours, so that GIF keeps them
    assert np.array_equal(read(coded(Image.fromarray(flat), kind, **options)), flat)


def test_a_path_a_string_and_a_stream_are_read_alike(tmp_path):
    file = tmp_path / "a.png"
    Image.fromarray(NOISE).save(file)
    for source in (file, str(file), io.BytesIO(file.read_bytes())):
        assert np.array_equal(np.asarray(read_image(source)), NOISE)


def test_the_suffix_of_a_file_does_not_matter(tmp_path):
    file = tmp_path / "a.jpg"
    file.write_bytes(coded(Image.fromarray(NOISE), "PNG"))
    assert np.array_equal(np.asarray(read_image(file)), NOISE)


# --- what is refused ----------------------------------------------------------------------------


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "empty.png").touch()
    with pytest.raises(ImageError, match=r"The file is empty \(0 bytes\)"):
        read_image(tmp_path / "empty.png")


def test_an_empty_stream_is_refused():
    with pytest.raises(ImageError, match="not a picture that can be read here"):
        read(b"")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ImageError, match=r"There is no file gone\.png"):
        read_image(tmp_path / "gone.png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_picture_is_refused(kind, share):
    whole = coded(Image.fromarray(np.tile(NOISE, (8, 8, 1))), kind)
    with pytest.raises(ImageError, match=r"damaged or incomplete|not a picture that can be read"):
        read(whole[: int(share * len(whole))])


@pytest.mark.parametrize("data", [b"hello, world\n" * 9, b"<svg></svg>", b"\x00" * 500, b"%PDF-1"])
def test_what_is_no_picture_is_refused(data):
    with pytest.raises(ImageError, match=r"Use JPEG, PNG, WebP, GIF, BMP or TIFF \(HEIC and SVG"):
        read(data)


def test_a_format_that_pillow_alone_reads_is_refused():
    with pytest.raises(ImageError, match="not a picture that can be read here"):
        read(coded(Image.fromarray(NOISE), "PPM"))


@pytest.mark.parametrize("size", [(1, 1), (15, 400), (400, 15)])
def test_a_picture_too_small_is_refused(size):
    with pytest.raises(ImageError, match=f"is {size[0]} x {size[1]}; at least 16 pixels a side"):
        read(coded(Image.new("RGB", size), "PNG"))


def test_a_picture_too_narrow_is_refused():
    """Scaled to the model's size by its short side, it would take hundreds of megabytes."""
    with pytest.raises(ImageError, match="is 4000 x 16; it may be 128 times as long as wide"):
        read(coded(Image.new("L", (4000, 16)), "PNG"))


def test_a_picture_too_large_is_refused_from_its_header():
    with pytest.raises(ImageError, match="is 8000 x 4000; the limit is 24 megapixels"):
        read(png_header(8000, 4000))


def test_a_decompression_bomb_is_refused_from_its_header():
    with pytest.raises(ImageError, match="over 128 megapixels; the limit is 24 megapixels"):
        read(png_header(100_000, 100_000))


# --- what comes out ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "LAB", "I", "F"]
)
def test_every_mode_becomes_eight_bit_rgb(mode):
    kind = {"YCbCr": "JPEG", "RGBA": "PNG", "LA": "PNG", "P": "PNG"}.get(mode, "TIFF")
    grey = Image.new(mode, (20, 24), 100 if len(Image.new(mode, (1, 1)).getbands()) == 1 else None)
    found = read_image(io.BytesIO(coded(grey, kind)))
    assert (found.mode, found.size) == ("RGB", (20, 24))


def test_a_printers_jpeg_keeps_its_colours():
    red = Image.new("CMYK", (32, 32), (0, 255, 255, 0))
    assert read(coded(red, "JPEG", quality=95))[16, 16].tolist() == pytest.approx(
        [255, 0, 0], abs=6
    )


def test_sixteen_bit_grey_is_scaled_and_not_clipped():
    ramp = np.linspace(0, 65535, 32 * 32).astype(np.uint16).reshape(32, 32)
    found = read(coded(Image.fromarray(ramp), "PNG"))
    expected = np.round(ramp / 65535 * 255).astype(np.uint8)
    assert np.array_equal(found, np.repeat(expected[..., None], 3, axis=2))


def test_dark_sixteen_bit_grey_stays_dark():
    dark = np.full((32, 32), 200, np.uint16)  # 200 of 65535
    assert read(coded(Image.fromarray(dark), "TIFF")).max() == 1


def test_floating_point_grey_spans_the_whole_range():
    ramp = np.linspace(-3, 5, 32 * 32, dtype=np.float32).reshape(32, 32)
    found = read(coded(Image.fromarray(ramp), "TIFF"))
    assert (found.min(), found.max()) == (0, 255)


def test_the_first_frame_of_an_animation_is_read():
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "lime", "blue")]
    for kind in ("GIF", "WEBP", "TIFF"):
        options = {"lossless": True} if kind == "WEBP" else {}
        data = coded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert read(data)[10, 10].tolist() == [255, 0, 0]


def test_a_transparent_picture_lies_on_white():
    glass = np.zeros((20, 20, 4), np.uint8)
    glass[:, :10] = (255, 0, 0, 255)
    glass[10:, 10:] = (0, 0, 0, 128)
    found = read(coded(Image.fromarray(glass), "PNG"))
    assert found[0, 0].tolist() == [255, 0, 0]
    assert found[0, 15].tolist() == [255, 255, 255]
    assert found[15, 15].tolist() == [127, 127, 127]


def test_a_transparent_colour_of_a_palette_lies_on_white():
    picture = Image.new("P", (20, 20), 0)
    picture.putpalette([10, 20, 30, 200, 0, 0])
    picture.paste(1, (0, 0, 10, 20))
    found = read(coded(picture, "PNG", transparency=0))
    assert found[5, 5].tolist() == [200, 0, 0]
    assert found[5, 15].tolist() == [255, 255, 255]


def test_a_palette_becomes_its_colours():
    picture = Image.new("P", (20, 20), 1)
    picture.putpalette([0, 0, 0, 12, 34, 56])
    assert read(coded(picture, "PNG"))[0, 0].tolist() == [12, 34, 56]


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [(1, lambda a: a), (3, lambda a: a[::-1, ::-1]), (6, lambda a: np.rot90(a, -1)), (8, np.rot90)],
)
def test_a_picture_is_turned_upright(orientation, upright):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = coded(Image.fromarray(NOISE), "PNG", exif=exif)
    assert np.array_equal(read(data), upright(NOISE))


def test_metadata_stay_behind():
    exif = Image.Exif()
    exif[MAKER] = "a camera"
    exif.get_ifd(GPS)[1] = "N"
    picture = Image.fromarray(np.tile(NOISE, (2, 2, 1)))
    data = coded(picture, "JPEG", exif=exif, comment=b"private", icc_profile=b"profile")
    found = read_image(io.BytesIO(data))
    assert not found.info
    assert not found.getexif()
    assert b"camera" not in coded(found, "JPEG")


def test_a_large_picture_is_shrunk_in_proportion():
    found = read_image(io.BytesIO(coded(Image.new("RGB", (3000, 1500), "teal"), "PNG")))
    assert found.size == (MAX_SIDE, MAX_SIDE // 2)


def test_a_large_jpeg_is_shrunk_in_proportion():
    found = read_image(io.BytesIO(coded(Image.new("RGB", (5000, 2500), "teal"), "JPEG")))
    assert found.size == (MAX_SIDE, MAX_SIDE // 2)


# --- large pictures ------------------------------------------------------------------------------


def jpeg_header(width, height):
    """A JPEG that says how large it is and holds nothing more."""
    small = coded(Image.new("RGB", (64, 64)), "JPEG")
    start = small.index(b"\xff\xc0") + 5
    return small[:start] + struct.pack(">HH", height, width) + small[start + 4 :]


def test_a_phones_jpeg_of_48_megapixels_is_read_at_a_fraction(monkeypatch):
    decoded = []
    turned = ImageOps.exif_transpose
    monkeypatch.setattr(
        ImageOps, "exif_transpose", lambda one: decoded.append(one.size) or turned(one)
    )
    data = coded(Image.new("RGB", (8000, 6000), "grey"), "JPEG")
    found = read_image(io.BytesIO(data))
    assert (found.size, found.getpixel((9, 9))) == ((MAX_SIDE, 1536), (128, 128, 128))
    assert decoded == [(4000, 3000)]


def test_a_jpeg_over_64_megapixels_is_refused_from_its_header():
    with pytest.raises(ImageError, match=r"is 9000 x 8000; .* 24 megapixels, 64 for JPEG"):
        read(jpeg_header(9000, 8000))


def test_a_large_progressive_jpeg_is_refused_since_it_would_fill_the_memory():
    data = coded(Image.new("RGB", (6400, 4000)), "JPEG", progressive=True)
    with pytest.raises(ImageError, match=r"is 6400 x 4000; .* 64 for JPEG that is not progressive"):
        read(data)


def test_a_jpeg_with_a_second_picture_in_it_is_read_like_any_other():
    first, second = (Image.new("RGB", (6400, 4000), one) for one in ("grey", "red"))
    data = coded(first, "MPO", save_all=True, append_images=[second])
    found = read_image(io.BytesIO(data))
    assert (found.size, found.getpixel((9, 9))) == ((MAX_SIDE, 1280), (128, 128, 128))


def test_at_most_two_pictures_are_decoded_at_a_time(monkeypatch):
    now, most, opened = [], [], Image.open

    def slow(*asked, **formats):
        now.append(1)
        most.append(len(now))
        Event().wait(0.05)
        now.pop()
        return opened(*asked, **formats)

    monkeypatch.setattr(Image, "open", slow)
    data = coded(Image.fromarray(NOISE), "PNG")
    with ThreadPoolExecutor(6) as pool:
        found = [*pool.map(read, [data] * 6)]
    assert all(np.array_equal(one, NOISE) for one in found)
    assert max(most) == 2


# --- the same without read_image -----------------------------------------------------------------


def test_a_picture_that_pillow_opened_is_turned_and_laid_on_white_too():
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    glass = np.dstack([NOISE, np.full(NOISE.shape[:2], 128, np.uint8)])
    data = coded(Image.fromarray(glass), "PNG", exif=exif)
    assert np.array_equal(np.asarray(as_rgb(Image.open(io.BytesIO(data)))), read(data))


def test_what_is_no_picture_of_pillows_is_refused_with_the_fix():
    for wrong in ("photo.jpg", NOISE, None):
        with pytest.raises(ImageError, match=r"got \w+\. Read it with drople\.read_image"):
            as_rgb(wrong)


def test_a_truncated_picture_that_pillow_opened_is_refused():
    data = coded(Image.fromarray(np.tile(NOISE, (8, 8, 1))), "PNG")
    with pytest.raises(ImageError, match="damaged or incomplete"):
        as_rgb(Image.open(io.BytesIO(data[: len(data) // 2])))


def test_sixteen_bit_colours_are_scaled():
    """Pillow writes none: a PNG of one colour, (65535, 32896, 0), by hand."""

    def chunk(kind, body):
        crc = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + crc

    row = b"\0" + struct.pack(">HHH", 65535, 32896, 0) * 16
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0))
    data += chunk(b"IDAT", zlib.compress(row * 16)) + chunk(b"IEND", b"")
    assert read(data)[8, 8].tolist() == [255, 128, 0]

"""Reading pictures from outside: a file becomes an RGB picture of bounded size, or one error."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from drople.errors import ImageError

MAX_PIXELS = 24_000_000  # refused above, from the header, before anything is decoded
MAX_SIDE = 2048  # shrunk above
MIN_SIDE = 16
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
# Pillow's own guard against decompression bombs, at the same limit.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS


def luma(pixels: np.ndarray) -> np.ndarray:
    """The brightness (S, S) of RGB (S, S, 3), weighted as in ITU-R BT.601."""
    return pixels @ np.array([0.299, 0.587, 0.114])


def read_image(source: str | Path | IO[bytes]) -> Image.Image:
    """Reads a picture: first frame, turned upright, on white, 8-bit RGB, without its metadata.

    Raises:
        ImageError: missing, empty, damaged, too large, small or narrow, or of another format.
    """
    file = Path(source) if isinstance(source, str | Path) else None
    if file and file.is_file() and not file.stat().st_size:
        raise ImageError("The file is empty (0 bytes). Choose another picture.")
    try:
        with warnings.catch_warnings():
            # Of pictures over the limit, which we refuse ourselves, and of odd metadata.
            warnings.simplefilter("ignore")
            image = _decode(source)
    except Image.DecompressionBombError:
        raise ImageError(
            f"The picture has over {MAX_PIXELS // 1_000_000} megapixels, the limit. Shrink it."
        ) from None
    except FileNotFoundError as error:
        raise ImageError(f"There is no file {Path(error.filename).name}. Check the path.") from None
    except UnidentifiedImageError:
        raise ImageError(
            "This is not a picture that can be read here. Use JPEG, PNG, WebP, GIF, BMP or TIFF "
            "(HEIC and SVG are not supported)."
        ) from None
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError, IndexError) as error:
        raise ImageError("The picture file is damaged or incomplete. Save it again.") from error
    image = _on_white_8_bit(image)
    if max(image.size) > MAX_SIDE:
        image.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    # A new picture from the bare pixels: EXIF (which may hold a place) and profiles stay behind.
    return Image.fromarray(np.asarray(image))


def image_files(folder: Path) -> list[Path]:
    """All files under a folder that are named as pictures, sorted by their paths."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def _decode(source: str | Path | IO[bytes]) -> Image.Image:
    image: Image.Image = Image.open(source, formats=FORMATS)
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"The picture is {width} x {height}; the limit is {MAX_PIXELS // 1_000_000} "
            "megapixels. Shrink it first."
        )
    if min(width, height) < MIN_SIDE:
        raise ImageError(
            f"The picture is {width} x {height}; at least {MIN_SIDE} pixels a side are needed."
        )
    if max(width, height) > min(width, height) * (MAX_SIDE // MIN_SIDE):
        raise ImageError(
            f"The picture is {width} x {height}; it may be {MAX_SIDE // MIN_SIDE} times as long as "
            "wide at most. Crop it first."
        )
    image.seek(0)
    if image.format == "JPEG":
        image.draft("RGB", (MAX_SIDE, MAX_SIDE))
    image.load()
    return ImageOps.exif_transpose(image)


def _on_white_8_bit(image: Image.Image) -> Image.Image:
    if image.mode == "F" or image.mode.startswith("I"):
        values = np.asarray(image).astype("float64")
        if image.mode == "F":
            low, high = np.nanmin(values), np.nanmax(values)
            values = (values - low) / ((high - low) or 1.0) * 255
        elif image.mode != "I" or values.max() > 255:
            values = values / 65535 * 255
        grey = np.nan_to_num(values).clip(0, 255).round().astype("uint8")
        return Image.fromarray(grey).convert("RGB")
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        sheet = Image.new("RGBA", image.size, (255, 255, 255, 255))
        sheet.alpha_composite(image)
        return sheet.convert("RGB")
    return image.convert("RGB")

"""Reading pictures from outside: a file becomes an RGB picture of bounded size, or one error."""

from __future__ import annotations

import logging
import math
import os
import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import BoundedSemaphore
from typing import IO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from drople.errors import ImageError

MAX_PIXELS = 24_000_000  # refused above, from the header, before anything is decoded
MAX_JPEG_PIXELS = 64_000_000  # a JPEG is decoded at a half or less, so that phones' 48 are read
MAX_SIDE = 2048  # shrunk above
MIN_SIDE = 16
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
SUFFIXES = (
    ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp",
)  # fmt: skip
# Of files that programs leave behind; so are all whose name starts with a dot.
LITTER = ("__MACOSX", "@eaDir", "Thumbs.db", "desktop.ini", "$RECYCLE.BIN", "__pycache__")
# Pillow's own guard against decompression bombs, which refuses twice as many.
Image.MAX_IMAGE_PIXELS = MAX_JPEG_PIXELS
log = logging.getLogger(__name__)
# A picture takes up to 200 MB while it is decoded; the others wait.
_decoding = BoundedSemaphore(2)


def luma(pixels: np.ndarray) -> np.ndarray:
    """The brightness (S, S) of RGB (S, S, 3), weighted as in ITU-R BT.601."""
    return pixels @ np.array([0.299, 0.587, 0.114])


def read_image(source: str | Path | IO[bytes]) -> Image.Image:
    """Reads a picture: first frame, turned upright, on white, 8-bit RGB, without its metadata.

    Args:
        source: a file, or an open one: JPEG up to 64 megapixels, or PNG, WebP, GIF, BMP or TIFF
            up to 24.

    Returns:
        RGB, its longer side at most 2048 pixels.

    Raises:
        ImageError: missing, empty, damaged, too large, small or narrow, or of another format.
    """
    if isinstance(source, str | Path):
        _check_file(Path(source))
    with _decoding, _refusing():
        image = _upright(_opened(source))
        if max(image.size) > MAX_SIDE:
            image.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
        # A new picture from the bare pixels: EXIF (which may hold a place) and profiles stay.
        return Image.fromarray(np.asarray(image))


def as_rgb(image: Image.Image) -> Image.Image:
    """A picture of Pillow's as `read_image` would give it, in the size it has.

    Raises:
        ImageError: it is no picture, or its file is damaged or incomplete.
    """
    if not isinstance(image, Image.Image):
        raise ImageError(
            f"Expected a picture, got {type(image).__name__}. Read it with drople.read_image(path)."
        )
    with _refusing():
        return _upright(image)


def image_files(*folders: Path) -> list[Path]:
    """All files under folders that are named as pictures, sorted by their paths in each.

    Links are followed; what is hidden or litter is passed over. How many other files there are,
    by their endings, is said in the log.
    """
    found, others = [], Counter[str]()
    for folder in folders:
        paths = sorted(_files(folder))
        found += [path for path in paths if path.suffix.lower() in SUFFIXES]
        others.update(p.suffix.lower() or "without ending" for p in paths)
    left_out = {ending: n for ending, n in others.most_common() if ending not in SUFFIXES}
    if left_out:
        said = ", ".join(f"{count} {ending}" for ending, count in left_out.items())
        log.warning(
            "Left out under %s: %s; read are %s.",
            os.path.commonpath(folders), said, ", ".join(SUFFIXES),
        )  # fmt: skip
    return found


def visible(path: Path) -> bool:
    """Whether a file or folder was put there by a person: not hidden, no litter."""
    return not path.name.startswith(".") and path.name not in LITTER


def _files(folder: Path) -> Iterator[Path]:
    """The visible files below a folder, at any depth; each folder once, however it is linked."""
    seen: set[str] = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        here = os.path.realpath(root)
        if here in seen:
            folders.clear()
            continue
        seen.add(here)
        folders[:] = [name for name in folders if visible(Path(name))]
        yield from (Path(root, name) for name in files if visible(Path(name)))


def _check_file(file: Path) -> None:
    if not os.path.exists(file):
        raise ImageError(f"There is no file {file.name}. Check the path.")
    if not os.path.isfile(file):
        raise ImageError(f"{file.name} is not a file. Give the path of a picture.")
    if not file.stat().st_size:
        raise ImageError("The file is empty (0 bytes). Choose another picture.")


@contextmanager
def _refusing() -> Iterator[None]:
    """Turns what Pillow raises on a file into one sentence."""
    try:
        with warnings.catch_warnings():
            # Of pictures over the limit, which we refuse ourselves, and of odd metadata.
            warnings.simplefilter("ignore")
            yield
    except Image.DecompressionBombError:
        raise ImageError(_too_large("a picture of over 128 megapixels")) from None
    except UnidentifiedImageError:
        raise ImageError(
            "This is not a picture that can be read here. Use JPEG, PNG, WebP, GIF, BMP or TIFF "
            "(HEIC and SVG are not supported)."
        ) from None
    except PermissionError as error:
        raise ImageError(f"The file may not be read: {error.strerror}.") from None
    except _DAMAGED as error:
        raise ImageError("The picture file is damaged or incomplete. Save it again.") from error


# What Pillow's readers raise on damaged files.
_DAMAGED = (
    OSError, SyntaxError, ValueError, EOFError, MemoryError, IndexError, KeyError, TypeError,
    OverflowError, struct.error, zlib.error,
)  # fmt: skip


def _opened(source: str | Path | IO[bytes]) -> Image.Image:
    """A picture whose header is within the limits; a large JPEG will be decoded at a fraction."""
    image: Image.Image = Image.open(source, formats=FORMATS)
    width, height = image.size
    # Phones write JPEG with a second picture in it (MPO). A progressive one cannot be decoded in
    # parts: its coefficients take as much memory as all its pixels.
    jpeg = image.format in ("JPEG", "MPO")
    limit = MAX_JPEG_PIXELS if jpeg and "progressive" not in image.info else MAX_PIXELS
    if width * height > limit:
        raise ImageError(_too_large(f"{width} x {height}"))
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
    if jpeg:
        share = MAX_SIDE / max(width, height)
        image.draft("RGB", (math.ceil(width * share), math.ceil(height * share)))
    return image


def _too_large(size: str) -> str:
    return (
        f"The picture is {size}; the limit is {MAX_PIXELS // 1_000_000} megapixels, "
        f"{MAX_JPEG_PIXELS // 1_000_000} for JPEG that is not progressive. Shrink it first."
    )


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    return _on_white_8_bit(ImageOps.exif_transpose(image))


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

"""Patch maps on the photograph, as arrays at patch resolution; hatching marks dropped patches."""

from __future__ import annotations

import base64
import io
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from app.figures.theme import Scale
from drople.analysis import Analysis
from drople.images import luma

SIDE = 448  # pixels of one panel
TILE, GAP = 150, 6  # pixels of one tile of a strip, and between two


def grey(pixels: np.ndarray) -> np.ndarray:
    """The photograph without its colours, a little dimmed: (S, S, 3) uint8 in and out."""
    return np.repeat((luma(pixels) * 0.85 + 20)[..., None], 3, axis=2).astype(np.uint8)


def enlarge(pixels: np.ndarray, side: int = SIDE) -> np.ndarray:
    """The photograph at the size of a panel, smoothly."""
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC))


def to_panel(values: np.ndarray, side: int) -> np.ndarray:
    """A patch map (G, G, ...) at the size of a panel, patch edges kept sharp."""
    rows = np.arange(side) * values.shape[0] // side
    columns = np.arange(side) * values.shape[1] // side
    return values[rows[:, None], columns[None, :]]


def overlay(
    pixels: np.ndarray,
    values: np.ndarray,
    scale: Scale,
    *,
    opacity: float = 0.7,
    marked: np.ndarray | None = None,
    side: int = SIDE,
) -> np.ndarray:
    """A patch map (G, G) over the grey photograph: (side, side, 3) uint8.

    Args:
        opacity: 0 shows the photograph alone, 1 the map alone.
        marked: (G, G) bool, patches hatched instead of coloured: no value is to be had there.
    """
    photo = enlarge(grey(pixels), side).astype(float)
    colours = to_panel(scale.rgb(values), side).astype(float)
    mixed = (photo * (1 - opacity) + colours * opacity).round().astype(np.uint8)
    return mixed if marked is None else hatch(mixed, marked)


def hatch(picture: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """Greys and hatches the marked patches (G, G) of a panel at 45 degrees."""
    side = len(picture)
    inside = to_panel(marked, side)
    y, x = np.mgrid[:side, :side]
    period = max(side // 56, 4)
    lines = ((x + y) % period) < max(period * 0.4, 1)
    faded = luma(picture)[..., None] * 0.25 + 165
    striped = np.where(lines[..., None], 70.0, faded)
    return np.where(inside[..., None], striped, picture).astype(np.uint8)


def blank(picture: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """Covers the marked patches (G, G) of a panel with a flat dark grey."""
    inside = to_panel(marked, len(picture))
    return np.where(inside[..., None], 90, picture).astype(np.uint8)


def outline(picture: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """Frames the marked patches (G, G) of a panel, white within black, seen on any colour."""
    shown = Image.fromarray(picture)
    draw = ImageDraw.Draw(shown)
    high, wide = (len(picture) / n for n in marked.shape)
    for row, column in np.argwhere(marked):
        box = [column * wide, row * high, (column + 1) * wide - 1, (row + 1) * high - 1]
        draw.rectangle(box, outline="black", width=5)
        draw.rectangle([box[0] + 1, box[1] + 1, box[2] - 1, box[3] - 1], outline="white", width=3)
    return np.asarray(shown)


def strip(pixels: np.ndarray, maps: list[np.ndarray], scale: Scale) -> np.ndarray:
    """Patch maps (G, G) as numbered tiles, four a row, left to right and top to bottom; RGBA."""
    step = TILE + GAP
    rows, columns = -(-len(maps) // 4), 4
    sheet = Image.new("RGBA", (columns * step + GAP, rows * step + GAP), (0, 0, 0, 0))
    draw = ImageDraw.Draw(sheet)
    for i, values in enumerate(maps):
        left, top = GAP + i % columns * step, GAP + i // columns * step
        tile = overlay(pixels, values, scale, opacity=0.8, side=TILE)
        sheet.paste(Image.fromarray(tile), (left, top))
        draw.rectangle((left, top, left + 34, top + 28), fill=(15, 23, 42, 215))
        draw.text((left + 17, top + 14), str(i + 1), fill="white", font=font(20), anchor="mm")
    return np.asarray(sheet)


def dropped_panel(analysis: Analysis, condition: str, layer: int) -> np.ndarray:
    """The photograph: hatched what is dropped after one layer, grey what was hidden before."""
    one = analysis.images[condition].layers[layer]
    photo = blank(enlarge(analysis.pixels), one.hidden_patches())
    return photo if one.dropped is None else hatch(photo, one.patches(one.dropped))


def jpeg_uri(picture: Image.Image, quality: int) -> str:
    """A picture as a JPEG data URI."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


@lru_cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """The one font that pictures are lettered in."""
    return ImageFont.truetype(
        Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Bold.ttf", size
    )

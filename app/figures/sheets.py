"""Pictures in labelled columns as one sheet, which can be saved and shown as it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from app.figures.patches import enlarge, font
from app.figures.theme import CONDITION_COLOURS

TILE, LABEL, LINE, GAP = 300, 46, 32, 8


def sheet_of(
    columns: Sequence[tuple[str, str, Sequence[np.ndarray]]], *, across: int = 4
) -> np.ndarray:
    """Columns of pictures with a label below each, RGBA; after `across` it goes on below.

    Args:
        columns: condition (for its colour), label of one or more lines, pictures from top to
            bottom; all alike many.
    """
    label_high = LABEL + LINE * max(label.count("\n") for _, label, _ in columns)
    panels = len(columns[0][2])
    across = min(len(columns), across)
    high = panels * (TILE + GAP) + label_high + 2 * GAP
    size = (across * (TILE + GAP) - GAP, -(-len(columns) // across) * high - 2 * GAP)
    sheet = Image.new("RGBA", size, (0, 0, 0, 0))
    for i, (condition, label, pictures) in enumerate(columns):
        left, top = (i % across) * (TILE + GAP), (i // across) * high
        for j, one in enumerate(pictures):
            sheet.paste(Image.fromarray(enlarge(one, TILE)), (left, top + j * (TILE + GAP)))
        sheet.paste(_label(condition, label, label_high), (left, top + panels * (TILE + GAP)))
    return np.asarray(sheet)


def _label(condition: str, text: str, high: int) -> Image.Image:
    """A name in white beside its condition's colour."""
    label = Image.new("RGBA", (TILE, high), "#1e293b")
    draw = ImageDraw.Draw(label)
    draw.ellipse((12, 12, 34, 34), fill=CONDITION_COLOURS[condition])
    for i, line in enumerate(text.split("\n")):
        size = 26 if i == 0 else 22
        draw.text((44, LABEL // 2 + i * LINE), line, fill="white", font=font(size), anchor="lm")
    return label

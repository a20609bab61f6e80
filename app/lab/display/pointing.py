"""The pointing game: the photograph with a box, and where each map's peak lies."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from app.figures.patches import SIDE, enlarge
from drople.analysis import Analysis
from drople.lab.pointing import Box


def boxed_photo(
    analysis: Analysis, box: Box | None, corner: tuple[float, float] | None = None
) -> np.ndarray:
    """The photograph with the box, or with its first corner (x, y) as shares: (S, S, 3) uint8."""
    sheet = Image.fromarray(enlarge(analysis.pixels))
    draw = ImageDraw.Draw(sheet)
    if box is not None:
        edges = tuple(SIDE * v for v in (box.left, box.top, box.right, box.bottom))
        draw.rectangle(edges, outline="white", width=7)
        draw.rectangle(edges, outline="#6366f1", width=4)
    elif corner is not None:
        x, y = (SIDE * v for v in corner)
        draw.ellipse((x - 7, y - 7, x + 7, y + 7), fill="#6366f1", outline="white", width=2)
    return np.asarray(sheet)

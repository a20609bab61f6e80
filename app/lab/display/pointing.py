"""The pointing game: a box, where each map's peak lies, and what chance would hit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw

from app.figures.names import map_name
from app.figures.patches import SIDE, enlarge
from app.lab.display.tables import Table, table_of
from drople.analysis import Analysis
from drople.lab.pointing import Box, point


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


def pointing_table(analysis: Analysis, maps: Mapping[str, np.ndarray], box: Box) -> Table:
    """Where each map's peak lies, and whether that is inside."""
    rows = []
    for name, values in maps.items():
        found, peak, inside = point(values, box), "no peak", "–"
        if found is not None:
            peak = f"{found.peak[0] + 1}, {found.peak[1] + 1}"
            inside = {0.0: "no", 1.0: "yes"}.get(found.hit, f"{found.hit:.2f} (ties)")
        rows.append(
            {"map": map_name(analysis, name), "peak at row, column": peak, "inside the box": inside}
        )
    return table_of(rows)


def pointing_sentence(maps: Mapping[str, np.ndarray], box: Box) -> str:
    """How likely chance hits this box, and what one picture is worth."""
    some = next(iter(maps.values()))
    inside = box.inside((some.shape[0], some.shape[1]))
    area = (box.right - box.left) * (box.bottom - box.top)
    return (
        f"By chance a peak is inside with {100 * inside.mean():.0f} %: the box holds the centres "
        f"of {inside.sum()} of {inside.size} patches ({100 * area:.0f} % of the area). A hit in "
        "one picture says little; in a large box it says nothing."
    )

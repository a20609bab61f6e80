"""The rows and the sentence of the pointing game: peaks, and what chance would hit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from app.figures.names import map_name
from drople.analysis import Analysis
from drople.lab.pointing import Box, point

HEADERS = ("map", "peak at row, column", "inside the box")


def pointing_rows(analysis: Analysis, maps: Mapping[str, np.ndarray], box: Box) -> list[list[str]]:
    """The rows under `HEADERS`."""
    rows = []
    for name, values in maps.items():
        found = point(values, box)
        if found is None:
            rows.append([map_name(analysis, name), "no peak", "–"])
            continue
        share = "yes" if found.hit == 1 else "no" if not found.hit else f"{found.hit:.2f} (ties)"
        rows.append([map_name(analysis, name), f"{found.peak[0] + 1}, {found.peak[1] + 1}", share])
    return rows


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

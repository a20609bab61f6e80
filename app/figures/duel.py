"""The duel: dropouts in columns, their drops over their maps, and what differs."""

from __future__ import annotations

import numpy as np

from app.figures.cams import cam_panel
from app.figures.dropped import dropped_panel
from app.figures.patches import overlay
from app.figures.sheets import sheet_of
from app.figures.theme import CONDITION_NAMES, Scale, symmetric
from drople.analysis import Analysis
from drople.branches import ADAPTED
from drople.lab.duel import map_difference


def column_name(condition: str) -> str:
    """What a column is called; the undropped run is the adapted branch itself."""
    return "No dropout" if condition == ADAPTED else CONDITION_NAMES[condition]


def duel_sheet(
    analysis: Analysis, conditions: tuple[str, ...], layer: int, target: int
) -> np.ndarray:
    """A column a condition: what it drops after one layer, its map, its name; RGBA.

    All maps share the one scale of the analysis. Without a map of this class the drops alone.
    """
    shown = analysis.maps.classes
    index = shown.index(target) if target in shown else None
    columns = []
    for condition in conditions:
        pictures = [dropped_panel(analysis, condition, layer)]
        if index is not None:
            pictures.append(cam_panel(analysis, analysis.maps, condition, index, opacity=0.65))
        columns.append((condition, column_name(condition), pictures))
    return sheet_of(columns)


def difference_scale(analysis: Analysis, conditions: tuple[str, ...], target: int) -> Scale:
    """One scale about 0 for the difference of any two of these columns."""
    arrays = []
    for i, first in enumerate(conditions):
        for second in conditions[i + 1 :]:
            found = map_difference(analysis, first, second, target=target)
            if found is not None and np.isfinite(found).any():
                arrays.append(found)
    return symmetric(arrays, "Grad-CAM, first minus second column; the same scale for every pair")


def difference_panel(
    analysis: Analysis, first: str, second: str, target: int, scale: Scale
) -> np.ndarray | None:
    """First minus second column's map over the photograph; None without a map of this class."""
    found = map_difference(analysis, first, second, target=target)
    if found is None:
        return None
    return overlay(analysis.pixels, found, scale, opacity=0.75, marked=np.isnan(found))

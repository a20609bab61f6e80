"""What sets one class's map apart from the mean of all classes' maps."""

from __future__ import annotations

import numpy as np

from app.figures.patches import overlay
from app.figures.sheets import sheet_of
from app.figures.theme import CONDITION_NAMES, Scale, symmetric
from drople.analysis import Analysis


def minus_mean(analysis: Analysis, condition: str, target: int) -> np.ndarray | None:
    """A class's map minus the mean over the classes with maps (G, G); None without a map of it."""
    shown = analysis.maps.classes
    if target not in shown:
        return None
    maps = analysis.maps.values[condition]
    own: np.ndarray = maps[shown.index(target)] - maps.mean(axis=0)
    return np.where(analysis.maps.unavailable[condition], np.nan, own)


def minus_scale(analysis: Analysis, target: int) -> Scale:
    """One scale about 0 for every condition."""
    found = [minus_mean(analysis, condition, target) for condition in analysis.conditions]
    arrays = [one for one in found if one is not None and np.isfinite(one).any()]
    count = len(analysis.maps.classes)
    return symmetric(arrays, f"map of the class minus the mean of {count} classes’ maps")


def minus_sheet(analysis: Analysis, target: int) -> np.ndarray:
    """A tile a condition; RGBA."""
    scale = minus_scale(analysis, target)
    columns = []
    for condition in analysis.conditions:
        own = minus_mean(analysis, condition, target)
        assert own is not None, "asked for with a map only"
        panel = overlay(analysis.pixels, own, scale, marked=~np.isfinite(own))
        columns.append((condition, CONDITION_NAMES[condition], [panel]))
    return sheet_of(columns, across=2)

"""What sets one class's map apart from the mean of all classes' maps."""

from __future__ import annotations

import numpy as np

from app.figures.patches import overlay
from app.figures.sheets import sheet_of
from app.figures.theme import CONDITION_NAMES, Scale, number, symmetric
from drople.analysis import Analysis

HEADERS = ("branch", "correlation with the others’ mean", "peak", "strongest patch against")


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


def minus_rows(analysis: Analysis, target: int) -> list[list[str]]:
    """The rows under `HEADERS`."""
    return [_row(analysis, condition, target) for condition in analysis.conditions]


def _row(analysis: Analysis, condition: str, target: int) -> list[str]:
    own = minus_mean(analysis, condition, target)
    assert own is not None, "asked for with a map only"
    likeness = likeness_to_others(analysis, condition, target)
    return [
        CONDITION_NAMES[condition],
        "–" if likeness is None else f"{likeness:+.2f}",
        _place(own),
        _place(-own),
    ]


def _place(values: np.ndarray) -> str:
    if not np.isfinite(values).any():
        return "–"
    row, column = np.unravel_index(int(np.nanargmax(values)), values.shape)
    return f"row {row + 1}, column {column + 1} ({number(float(values[row, column]))})"


def likeness_to_others(analysis: Analysis, condition: str, target: int) -> float | None:
    """Correlation over the patches of a class's map with the mean of the other classes' maps.

    Near 1 the map shows what any class would. None where either is flat or there is no other.
    """
    maps, index = analysis.maps, analysis.maps.classes.index(target)
    there = ~maps.unavailable[condition]
    own = maps.values[condition][index][there]
    others = np.delete(maps.values[condition], index, axis=0)
    if not len(others) or own.size < 2:
        return None
    mean = others.mean(axis=0)[there]
    if not own.std() or not mean.std():
        return None
    return float(np.corrcoef(own, mean)[0, 1])

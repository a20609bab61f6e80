"""One class's map beside the mean of all in numbers: likeness and strongest patches."""

from __future__ import annotations

import numpy as np

from app.figures.class_maps import minus_mean
from app.figures.theme import CONDITION_NAMES, number
from drople.analysis import Analysis

HEADERS = ("branch", "correlation with the others’ mean", "peak", "strongest patch against")


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

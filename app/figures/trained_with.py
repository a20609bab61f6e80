"""Checkpoints beside each other: the map each gives without dropout, and what it says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.figures.cams import cam_panel, cam_scale
from app.figures.sheets import sheet_of
from app.figures.theme import Scale
from drople.analysis import Analysis, ClassMaps
from drople.branches import FROZEN
from drople.lab.trained_with import TRAINED_WITH, Answer

COLOURS = {
    FROZEN: FROZEN,
    "drople-none": "adapted",
    "drople-vanilla": "vanilla",
    "drople": "iwtd",
    "drople-rank": "iwtd",
    "mpl": "mpl",
}


def _maps(analysis: Analysis, target: int, answers: Sequence[Answer]) -> ClassMaps:
    """The answers' maps as those of one analysis, so that they share its scale."""
    known = analysis.maps
    values = {one.name: one.map[None] for one in answers}
    nothing = np.zeros(answers[0].map.shape, dtype=bool)
    return ClassMaps(known.method, known.layer, (target,), values, dict.fromkeys(values, nothing))


def trained_scale(analysis: Analysis, target: int, answers: Sequence[Answer]) -> Scale:
    """The one scale of all maps."""
    return cam_scale(_maps(analysis, target, answers), 0)


def trained_sheet(analysis: Analysis, target: int, answers: Sequence[Answer]) -> np.ndarray:
    """A tile an answer, its prediction beneath; RGBA."""
    maps = _maps(analysis, target, answers)
    columns = []
    for one in answers:
        panel = cam_panel(analysis, maps, one.name, index=0, opacity=0.65)
        cosines = one.prediction.cosines
        rank = 1 + int((cosines > cosines[target]).sum())
        said = f"p = {one.prediction.probabilities[target]:.3f}, rank {rank}"
        columns.append((COLOURS[one.method], f"{title_of(one.method)}\n{said}", [panel]))
    return sheet_of(columns, across=3)


def title_of(method: str) -> str:
    """What a tile is called."""
    return "Frozen" if method == FROZEN else f"B: {TRAINED_WITH[method]}"

"""Checkpoints beside each other: the map each gives without dropout, and what it says."""

from __future__ import annotations

from collections.abc import Sequence

from app.figures.cams import cam_scale
from app.figures.patches import overlay
from app.figures.sheets import sheet_of
from app.figures.theme import Picture
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


def trained_sheet(analysis: Analysis, target: int, answers: Sequence[Answer]) -> Picture:
    """A tile an answer, its prediction beneath, all on one scale; RGBA."""
    known = analysis.maps
    values = {one.name: one.map[None] for one in answers}
    scale = cam_scale(ClassMaps(known.method, known.layer, (target,), values, {}), 0)
    columns = []
    for one in answers:
        panel = overlay(analysis.pixels, one.map, scale, opacity=0.65)
        cosines = one.prediction.cosines
        rank = 1 + int((cosines > cosines[target]).sum())
        said = f"p = {one.prediction.probabilities[target]:.3f}, rank {rank}"
        columns.append((COLOURS[one.method], f"{title_of(one.method)}\n{said}", [panel]))
    return Picture(sheet_of(columns, across=3), (scale,))


def title_of(method: str) -> str:
    """What a tile is called."""
    return "Frozen" if method == FROZEN else f"B: {TRAINED_WITH[method]}"

"""One token's way to its verdict: a picture that shows which, and its sums as a table."""

from __future__ import annotations

import numpy as np

from app.figures.patches import SIDE, enlarge
from drople.analysis import Analysis


def chosen_patch(analysis: Analysis, row: int, column: int) -> np.ndarray:
    """The photograph with all but one patch (from 0) darkened, and that one framed."""
    rows, columns = grid_of(analysis)
    photo = enlarge(analysis.pixels)
    step_y, step_x = SIDE / rows, SIDE / columns
    top, left = round(row * step_y), round(column * step_x)
    bottom, right = round((row + 1) * step_y), round((column + 1) * step_x)
    picture = (photo * 0.55).astype(np.uint8)
    border = 4
    picture[max(top - border, 0) : bottom + border, max(left - border, 0) : right + border] = 255
    picture[top:bottom, left:right] = photo[top:bottom, left:right]
    return picture


def grid_of(analysis: Analysis) -> tuple[int, int]:
    """Rows and columns of patches."""
    grid = analysis.images["frozen"].layers[0].grid
    assert grid is not None
    return grid


def patch_at(x: float, y: float, grid: tuple[int, int]) -> tuple[int, int]:
    """The patch (row, column), from 0, that a click on a panel hit."""
    row, column = int(y * grid[0] / SIDE), int(x * grid[1] / SIDE)
    return min(max(row, 0), grid[0] - 1), min(max(column, 0), grid[1] - 1)

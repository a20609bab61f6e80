"""One vector figure of an analysis, and the words that belong under it in a paper."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from app.figures.cams import cam_scale
from app.figures.importance import scale_of, values_of
from app.figures.patches import grey
from app.figures.theme import CONDITION_COLOURS, CONDITION_NAMES, Scale, number
from drople.analysis import Analysis

FORMATS = ("pdf", "svg")


def paper_figure(analysis: Analysis, layer: int, index: int) -> Figure:
    """The photograph, importance, drops and maps of one layer and class; 7 inches wide.

    Args:
        layer: of importance and drops, from 0.
        index: of the class, into `analysis.maps.classes`.
    """
    conditions = analysis.conditions
    figure = Figure(figsize=(7.0, 3.9), layout="constrained")
    FigureCanvasAgg(figure)
    columns = max(len(conditions), 4)
    cells = figure.subplots(2, columns, squeeze=False)
    for cell in cells.flat:
        cell.set_axis_off()
    _upper_row(figure, cells[0], analysis, layer=layer)
    scale = cam_scale(analysis.maps, index)
    for cell, condition in zip(cells[1], conditions, strict=False):
        values = analysis.maps.values[condition][index]
        _patches(cell, analysis, values, scale=scale, marked=analysis.maps.unavailable[condition])
        said = analysis.predictions[condition].probabilities[analysis.maps.classes[index]]
        _title(cell, f"{CONDITION_NAMES[condition]}, p = {said:.2f}")
    _bar(figure, list(cells[1]), scale)
    return figure


def _upper_row(figure: Figure, cells: list[Axes], analysis: Analysis, *, layer: int) -> None:
    """The photograph, the importance, and what the dropouts drop."""
    shown = analysis.branch
    one = analysis.images[shown].layers[layer]
    cells[0].imshow(analysis.pixels, extent=_extent(one.grid), interpolation="bilinear")
    _title(cells[0], "photograph")
    scale = scale_of(analysis, analysis.images[shown], "blend", layer=layer)
    _patches(cells[1], analysis, one.patches(values_of(one, "blend")), scale=scale)
    _title(cells[1], f"importance, layer {layer + 1}")
    _bar(figure, [cells[1]], scale, shrink=0.8)
    for cell, condition in zip(cells[2:], analysis.conditions[2:], strict=False):
        drawn = analysis.images[condition].layers[layer]
        gone = np.zeros(drawn.blend.shape, bool) if drawn.dropped is None else drawn.dropped
        marked = drawn.patches(gone)
        none, hidden = np.full(marked.shape, np.nan), drawn.hidden_patches()
        _patches(cell, analysis, none, scale=scale, marked=marked, hidden=hidden)
        words = f"dropped by {CONDITION_NAMES[condition]}"
        _title(cell, words, CONDITION_COLOURS[condition])


def _title(cell: Axes, text: str, colour: str = "#111827") -> None:
    cell.set_title(text, fontsize=8, color=colour, parse_math=False)


def _extent(grid: tuple[int, int] | None) -> tuple[float, float, float, float]:
    rows, columns = grid or (1, 1)
    return (0.0, float(columns), float(rows), 0.0)


def _patches(
    cell: Axes,
    analysis: Analysis,
    values: np.ndarray,
    *,
    scale: Scale,
    marked: np.ndarray | None = None,
    hidden: np.ndarray | None = None,
) -> None:
    """A patch map (G, G) as one quadrangle a patch over the grey photograph.

    Args:
        marked: patches (G, G) to hatch.
        hidden: patches to cover in dark grey.
    """
    grid = (values.shape[0], values.shape[1])
    cell.imshow(grey(analysis.pixels), extent=_extent(grid), interpolation="bilinear")
    known = np.ma.masked_invalid(values)
    if known.count():
        cell.pcolormesh(known, cmap=scale.table, vmin=scale.low, vmax=scale.high, alpha=0.75)
    for row, column in np.argwhere(marked) if marked is not None else ():
        square = Rectangle((column, row), 1, 1, facecolor="#d1d5db", edgecolor="#374151", lw=0)
        square.set_hatch("////")
        cell.add_patch(square)
    for row, column in np.argwhere(hidden) if hidden is not None else ():
        cell.add_patch(Rectangle((column, row), 1, 1, facecolor="#5a5a5a", lw=0))
    cell.set_xlim(0, grid[1])
    cell.set_ylim(grid[0], 0)
    cell.set_aspect("equal")


def _bar(figure: Figure, cells: list[Axes], scale: Scale, *, shrink: float = 1.0) -> None:
    shades = ScalarMappable(Normalize(scale.low, scale.high or 1e-9), scale.table)
    bar = figure.colorbar(
        shades, ax=cells, location="bottom", fraction=0.05, pad=0.02, shrink=shrink, aspect=40
    )
    ends = [scale.low, 0.0, scale.high] if scale.diverging else [scale.low, scale.high]
    top = number(scale.high) + " and more" * scale.clipped
    bar.set_ticks(ends, labels=[*(number(end) for end in ends[:-1]), top])
    bar.ax.tick_params(labelsize=6)
    bar.ax.set_xlabel(scale.meaning, fontsize=6, parse_math=False)


def figure_bytes(figure: Figure, kind: str) -> bytes:
    """A figure as a file, "pdf" or "svg", with text as text and no date in it."""
    buffer = io.BytesIO()
    nothing = {"CreationDate": None} if kind == "pdf" else {"Date": None}
    figure.savefig(buffer, format=kind, metadata=nothing)
    return buffer.getvalue()

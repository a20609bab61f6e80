"""One vector figure of an analysis, and the words that belong under it in a paper."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from app.figures.cams import cam_scale, mean_maps
from app.figures.importance import values_of
from app.figures.patches import grey
from app.figures.theme import CONDITION_COLOURS, CONDITION_NAMES, Scale, number, one_sided
from drople.analysis import Analysis
from drople.branches import ADAPTED, FROZEN
from drople.paired_draws import DrawBatch

FORMATS = ("pdf", "svg")


def paper_figure(
    analysis: Analysis, draws: Sequence[DrawBatch], *, layer: int, index: int
) -> Figure:
    """The photograph, importance, drops and maps of one layer and class; 7 inches wide.

    Args:
        draws: of one pair of dropouts. Of a single draw its drops are shown, of several how often
            each patch is dropped, and mean maps.
        layer: of importance and drops, from 0.
        index: of the class, into `analysis.maps.classes`.
    """
    figure = Figure(figsize=(7.0, 4.1), layout="constrained")
    FigureCanvasAgg(figure)
    cells = figure.subplots(2, 4)
    for cell in cells.flat:
        cell.set_axis_off()
    branches, pair = [FROZEN, ADAPTED][: 1 + analysis.adapted], draws[0].pair if draws else ()
    _upper_row(figure, cells[0], analysis, layer=layer)
    if draws and layer < depth_of(draws):
        _drops(figure, cells[0, 2:], analysis, draws, layer=layer)
    maps = {one: analysis.maps.values[one] for one in branches} | mean_maps(draws)
    scale = cam_scale(replace(analysis.maps, values=maps), index)
    target = analysis.maps.classes[index]
    said = {one: analysis.predictions[one].probabilities[target] for one in branches}
    for name in pair:
        said[name] = np.concatenate([one.probabilities(name)[:, target] for one in draws]).mean()
    places = [*cells[1, : len(branches)], *cells[1, 2:]]
    for cell, (name, p) in zip(places, said.items(), strict=False):
        _title(cell, f"{CONDITION_NAMES[name]}, p = {p:.2f}", CONDITION_COLOURS[name])
        if name in maps:
            shown = maps[name][index]
            _patches(cell, analysis, shown, scale=scale, marked=np.isnan(shown))
        else:
            cell.text(0.5, 0.5, "no map was made", ha="center", fontsize=7)
    _bar(figure, [*cells[1]], scale)
    return figure


def _upper_row(figure: Figure, cells: np.ndarray, analysis: Analysis, *, layer: int) -> None:
    """The photograph and the importance, on the overview's scale."""
    layers = analysis.images[analysis.branch].layers
    cells[0].imshow(analysis.pixels, extent=_extent(layers[layer].grid), interpolation="bilinear")
    _title(cells[0], "photograph")
    known = np.concatenate([values_of(one, "blend").ravel() for one in layers]).astype(float)
    known = known[np.isfinite(known)]
    # One scale for all layers, cut where sinks begin; 2: less must not look important.
    low, high = np.quantile(known, (0.25, 0.75), method="lower")
    top = max(2.0, known[known <= high + 3 * (high - low)].max())
    meaning = "importance, in multiples of an even share"
    scale = Scale(0.0, top, meaning, clipped=bool(known.max() > top))
    values = layers[layer].patches(values_of(layers[layer], "blend"))
    _patches(cells[1], analysis, values, scale=scale)
    _title(cells[1], f"importance, layer {layer + 1}")
    _bar(figure, [cells[1]], scale, shrink=0.8)


def _drops(
    figure: Figure, cells: np.ndarray, analysis: Analysis, draws: Sequence[DrawBatch], *, layer: int
) -> None:
    """What each dropout drops: of one draw hatched, of several its share of the draws."""
    rows, columns = analysis.maps.values[FROZEN].shape[1:]
    shares, patches = {}, rows * columns
    for name in draws[0].pair:
        there = np.concatenate([one.eligible[name][:, layer, :patches] for one in draws])
        dropped = np.concatenate([one.dropped[name][:, layer, :patches] for one in draws])
        share = np.ma.masked_array(dropped, ~there, float).mean(axis=0)
        shares[name] = share.filled(np.nan).reshape(rows, columns)  # NaN: in no draw still there
    count = count_of(draws)
    known = [share[np.isfinite(share)] for share in shares.values()]
    scale = one_sided(known, f"share of the {count} draws in which the patch was still there")
    for cell, (name, share) in zip(cells, shares.items(), strict=True):
        gone = np.isnan(share)
        if count > 1:
            _patches(cell, analysis, share, scale=scale, hidden=gone)
        else:
            _patches(cell, analysis, share * np.nan, scale=scale, marked=share == 1, hidden=gone)
        _title(cell, f"dropped by {CONDITION_NAMES[name]}", CONDITION_COLOURS[name])
    if count > 1:
        _bar(figure, [*cells], scale, shrink=0.8)


def count_of(draws: Sequence[DrawBatch]) -> int:
    """How many draws there are."""
    return sum(len(batch.seeds) for batch in draws)


def depth_of(draws: Sequence[DrawBatch]) -> int:
    """After how many layers dropout acts."""
    return draws[0].dropped[draws[0].pair[0]].shape[1]


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
    top = "≥ " * scale.clipped + number(scale.high)
    bar.set_ticks(ends, labels=[*(number(end) for end in ends[:-1]), top])
    bar.ax.tick_params(labelsize=6)
    bar.ax.set_xlabel(scale.meaning, fontsize=6, parse_math=False)


def figure_bytes(figure: Figure, kind: str) -> bytes:
    """A figure as a file, "pdf" or "svg", with text as text and no date in it."""
    buffer = io.BytesIO()
    nothing = {"CreationDate": None} if kind == "pdf" else {"Date": None}
    figure.savefig(buffer, format=kind, metadata=nothing)
    return buffer.getvalue()

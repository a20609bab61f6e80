"""One vector figure of an analysis, and the words that belong under it in a paper."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from app.figures.cams import cam_scale, mean_maps
from app.figures.importance import values_of
from app.figures.patches import grey
from app.figures.theme import (
    CONDITION_COLOURS,
    CONDITION_NAMES,
    Scale,
    number,
    one_sided,
    symmetric,
)
from drople.analysis import Analysis
from drople.branches import ADAPTED, FROZEN
from drople.decisions import Masks, count_tokens
from drople.paired_draws import DrawBatch

FORMATS = ("pdf", "svg")


def paper_figure(
    analysis: Analysis, draws: Sequence[DrawBatch], *, layer: int, index: int
) -> Figure:
    """The photograph, importance, drops and maps of one layer and class; 7 inches wide.

    Args:
        draws: of one pair of dropouts. Of a single draw its drops are shown, of several where the
            two differ, and mean maps.
        layer: of importance and drops, from 0.
        index: of the class, into `analysis.maps.classes`.
    """
    figure = Figure(figsize=(7.0, 4.4), layout="constrained")
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
    meaning = "multiples of an even share"
    scale = Scale(0.0, top, meaning, clipped=bool(known.max() > top))
    values = layers[layer].patches(values_of(layers[layer], "blend"))
    _patches(cells[1], analysis, values, scale=scale)
    _title(cells[1], f"importance, layer {layer + 1}")
    _bar(figure, [cells[1]], scale, shrink=0.8)


def _drops(
    figure: Figure, cells: np.ndarray, analysis: Analysis, draws: Sequence[DrawBatch], *, layer: int
) -> None:
    """What each dropout drops in one draw; of several draws, where the two differ."""
    rows, columns = grid = analysis.maps.values[FROZEN].shape[1:]
    at = np.s_[:, layer : layer + 1, : rows * columns]
    pair, count = draws[0].pair, count_of(draws)
    a, b = masks = [
        Masks(
            np.concatenate([one.dropped[name][at] for one in draws]),
            np.concatenate([one.eligible[name][at] for one in draws]),
            np.concatenate([one.probability[name][at] for one in draws]),
        )
        for name in pair
    ]
    if count == 1:
        none, scale = np.full(grid, np.nan), one_sided([], "")
        for cell, name, one in zip(cells, pair, masks, strict=True):
            marked, hidden = one.dropped.reshape(grid), ~one.eligible.reshape(grid)
            _patches(cell, analysis, none, scale=scale, marked=marked, hidden=hidden)
            _title(cell, f"dropped by {CONDITION_NAMES[name]}", CONDITION_COLOURS[name])
        return
    difference, met = count_tokens(a, b).difference, a.eligible & b.eligible
    kept = (b.dropped & ~a.dropped, a.dropped & ~b.dropped)  # by A alone, by B alone
    only_a, only_b = ((met & one).sum(axis=0) for one in kept)
    lean = np.where(only_a < only_b, -1, 1) * (only_a + only_b) / count
    first, second = (CONDITION_NAMES[name] for name in pair)
    for cell, values, title, meaning in (
        (cells[0], difference, f"p({first})\n− p({second})",
         f"mean over {count} draws\nblue: spared by {first}"),
        (cells[1], lean, "exactly one drops it,\nthe other keeps it",
         f"share of {count} draws\nblue: only {second} keeps it"),
    ):  # fmt: skip
        scale = symmetric([np.nan_to_num(values)], meaning)
        hidden = np.isnan(difference).reshape(grid)
        _patches(cell, analysis, values.reshape(grid), scale=scale, hidden=hidden)
        _title(cell, title)
        _bar(figure, [cell], scale, shrink=0.8)


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
        shades, ax=cells, location="bottom", fraction=0.05, pad=0.02, shrink=shrink,
        aspect=8 + 8 * len(cells),
    )  # fmt: skip
    ends = [scale.low, 0.0, scale.high] if scale.diverging else [scale.low, scale.high]
    top = "≥ " * scale.clipped + number(scale.high)
    bar.set_ticks(ends, labels=[*(number(end) for end in ends[:-1]), top])
    bar.ax.tick_params(labelsize=6)
    bar.ax.set_xlabel(scale.meaning, fontsize=6, parse_math=False)


def figure_bytes(figure: Figure, kind: str) -> bytes:
    """A figure as a file, "pdf" or "svg", with text as text and no date in it."""
    buffer = io.BytesIO()
    nothing = {"CreationDate": None} if kind == "pdf" else {"Date": None}
    with rc_context({"svg.fonttype": "none", "pdf.fonttype": 42}):
        figure.savefig(buffer, format=kind, metadata=nothing)
    return buffer.getvalue()

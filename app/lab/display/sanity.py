"""The sanity check: one map as ever more blocks are randomised, and how like itself it stays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from app.figures.names import short_name
from app.figures.patches import overlay
from app.figures.sheets import sheet_of
from app.figures.theme import CONDITION_COLOURS, IMPORTANCE_COLOUR, ZERO, Picture, Scale, plain
from drople.analysis import Analysis
from drople.lab.patch_maps import IMPORTANCE
from drople.lab.sanity import Depth
from drople.statistics.correlation import ranks

RANKS = Scale(0, 1, "rank of a patch within its map, lowest to highest")


def cascade_sheet(analysis: Analysis, found: Sequence[Depth], name: str) -> Picture:
    """One map at every depth, its patches by rank, since ranks are what is compared; RGBA."""
    condition = name if name in CONDITION_COLOURS else analysis.branch
    columns = []
    for depth in found:
        values = depth.maps[name]
        panel = overlay(
            analysis.pixels, shared_ranks(values), RANKS, opacity=0.75, marked=np.isnan(values)
        )
        like = depth.likeness[name].spearman
        said = (
            f"last {depth.randomised}: {spearman_text(like)}" if depth.randomised else "as trained"
        )
        columns.append((condition, said, [panel]))
    return Picture(sheet_of(columns), (RANKS,))


def shared_ranks(values: np.ndarray) -> np.ndarray:
    """A map's ranks (G, G) in [0, 1], ties sharing theirs; NaN stays NaN."""
    known = np.isfinite(values)
    ranked = np.full(values.shape, np.nan)
    if known.any():
        ranked[known] = (ranks(values[known]) - 0.5) / known.sum()
    return ranked


def cascade_figure(found: Sequence[Depth]) -> go.Figure:
    """Spearman with the trained network's map over the depth, a line a map."""
    figure = go.Figure()
    for name in found[0].maps:
        colour = CONDITION_COLOURS.get(name, IMPORTANCE_COLOUR)
        dash = "longdash" if name == IMPORTANCE else "solid"
        figure.add_scatter(
            x=[depth.randomised for depth in found],
            y=[depth.likeness[name].spearman for depth in found],
            mode="lines+markers",
            name=short_name(name),
            line={"color": colour, "width": 2.5, "dash": dash},
            hovertemplate="%{x} blocks randomised: ρ = %{y:.2f}<extra></extra>",
        )
    alike = [one.spearman for depth in found for one in depth.likeness.values()]
    lowest = min([-0.25, *(one for one in alike if one is not None)])
    figure.update_xaxes(
        title="last blocks randomised", tickvals=[depth.randomised for depth in found]
    )
    figure.update_yaxes(title="Spearman with trained", range=[lowest - 0.03, 1.05], **ZERO)
    return plain(figure, height=400, legend=True)


def spearman_text(value: float | None) -> str:
    """A Spearman correlation in two digits; a dash where a map is the same everywhere."""
    return "–" if value is None else f"{value:.2f}"

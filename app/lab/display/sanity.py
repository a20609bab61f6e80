"""The sanity check: how like itself a map stays as ever more blocks are randomised."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from app.figures.names import map_name, short_name, spearman_text
from app.figures.patches import overlay
from app.figures.sheets import sheet_of
from app.figures.theme import CONDITION_COLOURS, IMPORTANCE_COLOUR, ZERO, Picture, Scale, plain
from app.lab.display.tables import Table, table_of
from drople.analysis import Analysis
from drople.lab.patch_maps import IMPORTANCE, importance_layers
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
        label = f"last {depth.randomised}: {spearman_text(like)}"
        columns.append((condition, label if depth.randomised else "as trained", [panel]))
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


BARELY = 0.5  # Spearman above which a map with every block randomised is called barely changed


def cascade_table(analysis: Analysis, found: Sequence[Depth]) -> Table:
    """A row a depth: Spearman, and in brackets the top tenth of patches that stays."""
    rows = []
    for depth in found:
        row = {"blocks randomised": f"{depth.randomised}"}
        for name in found[0].maps:
            like = depth.likeness[name]
            row[map_name(analysis, name)] = (
                f"{spearman_text(like.spearman)} ({100 * like.top:.0f} %)"
            )
        rows.append(row)
    return table_of(rows)


def cascade_sentence(analysis: Analysis, found: Sequence[Depth], blocks: int) -> str:
    """Which maps lose their likeness, and which do not seem to need what was learnt."""
    last = found[-1]
    if not last.randomised:
        return "The trained network's maps; now its last block is randomised."
    said = f"{last.randomised} of {blocks} blocks randomised, one draw of new weights. "
    alike = {map_name(analysis, name): one.spearman for name, one in last.likeness.items()}
    parts = [f"{name} {spearman_text(value)}" for name, value in alike.items()]
    said += f"Spearman with the trained map: {'; '.join(parts)}."
    flat = [name for name, value in alike.items() if value is None]
    if flat:
        said += f" The same everywhere: {'; '.join(flat)}."
    if last.randomised < blocks:
        return said
    stubborn = [name for name, value in alike.items() if value is not None and value > BARELY]
    if stubborn:
        said += (
            f" ⚠ Barely changed although every block is new (ρ above {BARELY}): "
            f"{'; '.join(stubborn)}. Such a map is not sensitive to the weights, so it does "
            "not show what the network has learnt."
        )
    above = blocks - importance_layers(analysis)
    if above:
        said += (
            f" The importance stays 1.00 by construction until more than {above} blocks are new: "
            f"it is read from the first {importance_layers(analysis)} alone."
        )
    return said

"""The sanity check: one map as ever more blocks are drawn anew, and how like itself it stays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from scipy.stats import rankdata

from app.figures.names import map_name, short_name
from app.figures.patches import overlay
from app.figures.sheets import sheet_of
from app.figures.theme import CONDITION_COLOURS, IMPORTANCE_COLOUR, Scale, plain
from drople.analysis import Analysis
from drople.branches import ADAPTED, FROZEN
from drople.lab.patch_maps import IMPORTANCE, importance_layers
from drople.lab.sanity import Depth, Likeness

BARELY = 0.5  # Spearman above which a map with every block drawn anew is called barely changed
RANKS = Scale(0, 1, "rank of a patch within its map, lowest to highest")


def cascade_sheet(analysis: Analysis, found: Sequence[Depth], name: str) -> np.ndarray:
    """One map at every depth, its patches by rank, since ranks are what is compared; RGBA."""
    condition = name if name in CONDITION_COLOURS else ADAPTED if analysis.adapted else FROZEN
    columns = []
    for depth in found:
        values = depth.maps[name]
        panel = overlay(
            analysis.pixels, ranks(values), RANKS, opacity=0.75, marked=np.isnan(values)
        )
        like = depth.likeness[name].spearman
        said = f"last {depth.redrawn}: {_number(like)}" if depth.redrawn else "as trained"
        columns.append((condition, said, [panel]))
    return sheet_of(columns)


def ranks(values: np.ndarray) -> np.ndarray:
    """A map's ranks (G, G) in [0, 1], ties sharing theirs; NaN stays NaN."""
    known = np.isfinite(values)
    ranked = np.full(values.shape, np.nan)
    if known.any():
        ranked[known] = (rankdata(values[known]) - 0.5) / known.sum()
    return ranked


def cascade_figure(found: Sequence[Depth]) -> go.Figure:
    """Spearman with the trained network's map over the depth, a line a map."""
    figure = go.Figure()
    for name in found[0].maps:
        colour = CONDITION_COLOURS.get(name, IMPORTANCE_COLOUR)
        dash = "longdash" if name == IMPORTANCE else "solid"
        figure.add_scatter(
            x=[depth.redrawn for depth in found],
            y=[depth.likeness[name].spearman for depth in found],
            mode="lines+markers",
            name=short_name(name),
            line={"color": colour, "width": 2.5, "dash": dash},
            hovertemplate="%{x} blocks drawn anew: ρ = %{y:.2f}<extra></extra>",
        )
    figure.update_xaxes(
        title="last blocks drawn anew", showgrid=False, zeroline=False,
        tickvals=[depth.redrawn for depth in found],
    )  # fmt: skip
    figure.update_yaxes(
        title="Spearman with trained", gridcolor="rgba(100,116,139,0.25)",
        zerolinecolor="#64748b", automargin=True, range=[min(-0.25, *_known(found)) - 0.03, 1.05],
    )  # fmt: skip
    return plain(figure, height=400, legend=True)


def _known(found: Sequence[Depth]) -> list[float]:
    alike = [one.spearman for depth in found for one in depth.likeness.values()]
    return [one for one in alike if one is not None]


def cascade_headers(analysis: Analysis, found: Sequence[Depth]) -> list[str]:
    """Headers of `cascade_rows`."""
    return ["blocks drawn anew", *(map_name(analysis, name) for name in found[0].maps)]


def cascade_rows(found: Sequence[Depth]) -> list[list[str]]:
    """A row a depth: Spearman, and in brackets the top tenth of patches that stays."""
    return [
        [f"{depth.redrawn}", *(_cell(depth.likeness[name]) for name in found[0].maps)]
        for depth in found
    ]


def _cell(one: Likeness) -> str:
    return f"{_number(one.spearman)} ({100 * one.top:.0f} %)"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def cascade_sentence(analysis: Analysis, found: Sequence[Depth], blocks: int) -> str:
    """Which maps lose their likeness, and which do not seem to need what was learnt."""
    last = found[-1]
    if not last.redrawn:
        return "The trained network's maps; now its last block is drawn anew."
    said = f"{last.redrawn} of {blocks} blocks drawn anew, one draw of new weights. "
    parts = [
        f"{map_name(analysis, name)} {_number(one.spearman)}" for name, one in last.likeness.items()
    ]
    said += f"Spearman with the trained map: {'; '.join(parts)}."
    flat = [name for name, one in last.likeness.items() if one.spearman is None]
    if flat:
        said += f" The same everywhere: {_names(analysis, flat)}."
    if last.redrawn < blocks:
        return said
    stubborn = [
        name for name, one in last.likeness.items()
        if one.spearman is not None and one.spearman > BARELY
    ]  # fmt: skip
    if stubborn:
        said += (
            f" ⚠ Barely changed although every block is new (ρ above {BARELY}): "
            f"{_names(analysis, stubborn)}. Such a map is not sensitive to the weights, so it does "
            "not show what the network has learnt."
        )
    above = blocks - importance_layers(analysis)
    if above:
        said += (
            f" The importance stays 1.00 by construction until more than {above} blocks are new: "
            f"it is read from the first {importance_layers(analysis)} alone."
        )
    return said


def _names(analysis: Analysis, names: Sequence[str]) -> str:
    return "; ".join(map_name(analysis, name) for name in names)

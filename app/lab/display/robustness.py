"""The robustness strip: picture, map and drops, clean beside corrupted and attacked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from app.figures.cams import cam_scale
from app.figures.dropped import dropped_panel
from app.figures.patches import enlarge, overlay
from app.figures.sheets import sheet_of
from app.figures.theme import Picture, Scale, plain
from drople.analysis import Analysis, ClassMaps
from drople.branches import ADAPTED, FROZEN
from drople.lab.patch_maps import target_map
from drople.lab.robustness import Version

PROBABILITY = Scale(0, 1, "probability of the class looked at; ✗ where the answer is another")


def kind_name(kind: str) -> str:
    """A corruption as one reads it."""
    return kind.replace("_", " ")


def drops_of(analysis: Analysis, condition: str) -> str | None:
    """Whose drops stand under a condition's map: its own, else IWTD's; None where nothing drops."""
    if condition not in (FROZEN, ADAPTED) and condition in analysis.images:
        return condition
    return "iwtd" if "iwtd" in analysis.images else None


def strip_sheet(found: Sequence[Version], condition: str, layer: int, *, target: int) -> Picture:
    """A column a version: the picture, the map on one scale, the drops after a layer; RGBA."""
    known = found[0].analysis.maps
    maps = {one.name: target_map(one.analysis, condition, target) for one in found}
    values = {name: map_[None] for name, map_ in maps.items() if map_ is not None}
    scale = cam_scale(ClassMaps(known.method, known.layer, (target,), values, {}), 0)
    columns = []
    for one in found:
        analysis = one.analysis
        gone = analysis.maps.unavailable[condition]
        map_panel = overlay(analysis.pixels, values[one.name][0], scale, marked=gone)
        pictures = [enlarge(analysis.pixels), map_panel]
        dropping = drops_of(analysis, condition)
        if dropping is not None:
            pictures.append(dropped_panel(analysis, dropping, layer))
        columns.append((condition, one.name, pictures))
    return Picture(sheet_of(columns), (scale,))


def kinds_figure(found: Mapping[str, np.ndarray]) -> go.Figure:
    """Corruptions down, severities across; the colour is the probability, a cross a changed answer.

    Args:
        found: corruption -> (6, 2), see `run_kinds`.
    """
    names = [kind_name(kind) for kind in found]
    z = np.stack([rows[:, 0] for rows in found.values()])
    stays = np.stack([rows[:, 1] for rows in found.values()]) > 0
    figure = go.Figure()
    figure.add_heatmap(
        z=z, x=list(range(6)), y=names, zmin=0, zmax=1, colorscale=PROBABILITY.plotly(),
        showscale=False, xgap=2, ygap=2,
        hovertemplate="%{y}, severity %{x}: %{z:.3f}<extra></extra>",
    )  # fmt: skip
    rows, columns = np.nonzero(~stays)
    figure.add_scatter(
        x=columns, y=[names[i] for i in rows], mode="markers", hoverinfo="skip",
        marker={"symbol": "x", "size": 11, "color": "white",
                "line": {"width": 1.5, "color": "#0f172a"}},
    )  # fmt: skip
    figure.update_xaxes(title="severity", tickvals=list(range(6)))
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return plain(figure, height=110 + 28 * len(names))

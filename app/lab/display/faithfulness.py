"""Faithfulness: deletion and insertion curves of maps beside their baselines, and their areas."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from app.figures.names import map_name, short_name
from app.figures.theme import CONDITION_COLOURS, IMPORTANCE_COLOUR, band, plain
from drople.analysis import Analysis
from drople.lab.faithfulness import DIRECTIONS, Curve, Faithfulness, Measure, Quantity
from drople.lab.patch_maps import CENTRE, EDGES, IMPORTANCE, RANDOM
from drople.statistics.intervals import prediction_interval

BASELINE_COLOUR = "#a16207"
_DASHES = {IMPORTANCE: "longdash", CENTRE: "dash", EDGES: "dot"}


def curves_figure(
    analysis: Analysis, found: Faithfulness, replacement: str, *, quantity: Quantity
) -> go.Figure:
    """Deletion above, insertion below; a line a map, a band where 95 % of random orders lie."""
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.06)
    for row, direction in enumerate(DIRECTIONS, start=1):
        measure = Measure(direction, replacement)
        _add_random(figure, row, found.random.get(measure, ()), quantity=quantity)
        for name, curve in found.curves.get(measure, {}).items():
            figure.add_scatter(
                x=curve.shares, y=curve.values(quantity), mode="lines", row=row, col=1,
                name=short_name(name), legendgroup=name, showlegend=row == 1,
                line={"color": _colour(name), "width": 2.5, "dash": _DASHES.get(name, "solid")},
                hovertemplate=(
                    f"<b>{map_name(analysis, name)}</b><br>%{{x:.0%}} of the patches: "
                    "%{y:.3f}<extra></extra>"
                ),
            )  # fmt: skip
        figure.update_yaxes(title=f"{quantity}, {direction}", row=row, col=1)
    figure.update_xaxes(tickformat=".0%")
    figure.update_xaxes(title="patches deleted, or inserted", row=2, col=1)
    return plain(figure, height=620, legend=True)


def _colour(name: str) -> str:
    if name == IMPORTANCE:
        return IMPORTANCE_COLOUR
    return CONDITION_COLOURS.get(name, BASELINE_COLOUR)


def _add_random(
    figure: go.Figure, row: int, curves: tuple[Curve, ...], *, quantity: Quantity
) -> None:
    if not curves:
        return
    shares = curves[0].shares
    values = np.stack([curve.values(quantity) for curve in curves])  # (n, T)
    known = [prediction_interval(column) for column in values.T]
    group = {"legendgroup": RANDOM, "showlegend": row == 1, "row": row, "col": 1}
    if known[0] is not None:
        low, high = np.array(known, dtype=float).T
        if quantity == "probability":  # the t-interval knows no bounds
            low, high = low.clip(0, 1), high.clip(0, 1)
        figure.add_scatter(
            **band(shares, low, high), **group,
            name="95 % of random orders", fillcolor="rgba(120,113,108,0.25)",
        )  # fmt: skip
    figure.add_scatter(
        x=shares, y=values.mean(axis=0), name=f"Random, mean of {len(curves)}", mode="lines",
        line={"color": "#78716c", "width": 1.5},
        hovertemplate="<b>random</b><br>%{x:.0%} of the patches: %{y:.3f}<extra></extra>", **group,
    )  # fmt: skip

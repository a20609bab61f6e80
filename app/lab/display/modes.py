"""Modes side by side: how far each way of dropping moves the class looked at."""

from __future__ import annotations

import plotly.graph_objects as go

from app.figures.theme import CONDITION_COLOURS, CONDITION_NAMES, ZERO, plain
from drople.lab.modes import ModeEffect


def modes_figure(effects: list[ModeEffect]) -> go.Figure:
    """The logit's change from the undropped run: a row a mode, a bar a dropout."""
    figure = go.Figure()
    for strategy in dict.fromkeys(one.strategy for one in effects):
        own = [one for one in effects if one.strategy == strategy]
        figure.add_bar(
            y=[one.mode for one in own],
            x=[one.logit_change for one in own],
            orientation="h",
            name=CONDITION_NAMES[strategy],
            marker={"color": CONDITION_COLOURS[strategy]},
            hovertemplate="<b>%{y}</b><br>logit %{x:+.3f}<extra></extra>",
        )
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(title="change of logit", showgrid=True, zerolinewidth=2, **ZERO)
    figure.update_layout(bargap=0.3)
    return plain(figure, height=90 + 50 * len({one.mode for one in effects}), legend=True)

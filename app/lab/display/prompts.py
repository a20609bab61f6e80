"""Prompts from layer to layer: how many are carried, added and removed."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from app.figures.theme import CONDITION_COLOURS, ZERO, plain
from drople.lab.prompts import PromptCounts

CARRIED = "#94a3b8"


def prompts_figure(
    layers: Sequence[PromptCounts], *, beside: Sequence[PromptCounts] = ()
) -> go.Figure:
    """A bar a layer: carried and added above the line, removed on entering below it.

    Args:
        beside: what another figure shows on the same scale.
    """
    figure = go.Figure()
    grey = {"color": "rgba(0,0,0,0)", "line": {"color": CARRIED, "width": 2}}
    for name, values, marker in (
        ("carried", [one.carried for one in layers], {"color": CARRIED}),
        ("added", [one.added for one in layers], {"color": CONDITION_COLOURS["adapted"]}),
        # A bar of no height would still have its outline.
        ("removed", [-one.removed or None for one in layers], grey),
    ):
        figure.add_bar(
            x=[one.depth + 1 for one in layers], y=values, name=name, marker=marker,
            customdata=[abs(value or 0) for value in values],
            hovertemplate=f"<b>layer %{{x}}</b><br>{name} %{{customdata}}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title="layer", tickvals=[one.depth + 1 for one in layers])
    both = (*layers, *beside)
    low, high = max(one.removed for one in both), max(one.total for one in both)
    figure.update_yaxes(title="image prompts", range=[-low - 0.5, high + 0.5], **ZERO)
    figure.update_layout(barmode="relative", bargap=0.25)
    return plain(figure, height=280, legend=True)

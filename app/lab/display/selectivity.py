"""The selectivity meter: p's range in each layer, as it is and as it might be."""

from __future__ import annotations

import plotly.graph_objects as go

from app.figures.theme import CONDITION_COLOURS, plain
from drople.selectivity import Meter, meter
from drople.traces import LayerTrace


def meters(layers: list[LayerTrace], p_max: float, row: int) -> list[Meter]:
    """The layers in which a dropout acts."""
    found = [meter(layer, p_max, row) for layer in layers]
    return [one for one in found if one is not None]


def meter_figure(given: list[Meter], other: list[Meter] | None, name: str) -> go.Figure:
    """A bar from lowest to highest p a layer, thick within one sd of the mean, and the mean."""
    figure = go.Figure()
    _add(figure, given, -0.16 if other else 0.0, colour=CONDITION_COLOURS["iwtd"], name="as it is")
    if other:
        _add(figure, other, 0.16, colour=CONDITION_COLOURS["inverse"], name=f"what if: {name}")
    figure.update_xaxes(title="layer", tickvals=[one.depth + 1 for one in given])
    figure.update_yaxes(title="p of being dropped", rangemode="tozero")
    return plain(figure, height=320, legend=True)


def _add(figure: go.Figure, given: list[Meter], shift: float, *, colour: str, name: str) -> None:
    for one in given:
        x = one.depth + 1 + shift
        low, high = max(one.mean - one.spread, one.low), min(one.mean + one.spread, one.high)
        for a, b, width in ((one.low, one.high, 2), (low, high, 8)):
            figure.add_shape(
                type="line", x0=x, x1=x, y0=a, y1=b, layer="below",
                line={"color": colour, "width": width}, opacity=0.55,
            )  # fmt: skip
    figure.add_scatter(
        x=[one.depth + 1 + shift for one in given],
        y=[one.mean for one in given],
        mode="markers",
        name=name,
        marker={"color": colour, "size": 11},
        customdata=[[one.spread, one.low, one.high, one.protected] for one in given],
        hovertemplate=(
            f"<b>{name}</b><br>mean p %{{y:.3f}}<br>sd %{{customdata[0]:.3f}}"
            "<br>range %{customdata[1]:.3f} to %{customdata[2]:.3f}"
            "<br>protection spread over %{customdata[3]:.1f} tokens<extra></extra>"
        ),
    )

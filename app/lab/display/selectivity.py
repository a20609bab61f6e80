"""The selectivity meter: p's range in each layer, as it is and as it might be."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from app.figures.theme import CONDITION_COLOURS, plain
from app.lab.display.tables import Table, table_of
from app.wording.sentences import disguise_sentence
from drople.analysis import Analysis
from drople.measures import selectivity
from drople.selectivity import Meter, meter
from drople.traces import LayerTrace


def meters(layers: list[LayerTrace], p_max: float, row: int) -> list[Meter]:
    """The layers in which a dropout acts."""
    found = [meter(layer, p_max, row) for layer in layers]
    return [one for one in found if one is not None]


COLOURED = ("iwtd", "inverse")  # what is, what would be


def meter_figure(given: dict[str, list[Meter]]) -> go.Figure:
    """A bar from lowest to highest p a layer, thick within one sd of the mean, and the mean.

    Args:
        given: by name, what is and, where asked, what would be.
    """
    figure, shifts = go.Figure(), (-0.16, 0.16) if len(given) > 1 else (0.0,)
    for (name, one), shift, condition in zip(given.items(), shifts, COLOURED, strict=False):
        _add(figure, one, shift, colour=CONDITION_COLOURS[condition], name=name)
    layers = [meter.depth + 1 for meter in next(iter(given.values()))]
    figure.update_xaxes(title="layer", tickvals=layers)
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


NAMES = {
    "minmax": "min–max (released code)",
    "minmax_eligible": "min–max over what may be dropped",
    "rank": "rank",
    "robust": "robust (5 % to 95 % quantile)",
    "no_sinks": "sinks excluded",
}


def meter_table(given: dict[str, list[Meter]]) -> Table:
    """The meters of all layers, by the normalisation that they come from."""
    return table_of([
        {
            "normalisation": name,
            "layer": f"{one.depth + 1}",
            "tokens": f"{one.eligible}",
            "mean p": f"{one.mean:.3f}",
            "sd of p": f"{one.spread:.4f}",
            "range of p": f"{one.low:.3f} to {one.high:.3f}",
            "protection spread over (tokens)": f"{one.protected:.1f}",
            "divergence from vanilla (bits)": f"{one.divergence:.5f}",
            "decisions that differ": f"{100 * one.differing:.1f} %",
        }
        for name, meters in given.items()
        for one in meters
    ])  # fmt: skip


def warnings_of(analysis: Analysis, layers: list[LayerTrace], row: int) -> str:
    """In which layers IWTD is vanilla dropout in disguise, and the first of them in words."""
    dropout = analysis.settings.dropout
    near = [selectivity(layer, dropout.p_min, dropout.p_max, row=row) for layer in layers]
    hit = [i for i, one in enumerate(near) if one is not None and one.near_top > 0.9]
    acting = sum(one is not None for one in near)
    if not acting:
        return "No dropout acts on these tokens."
    if not hit:
        return f"In none of {acting} layers is IWTD vanilla dropout in disguise."
    numbers = ", ".join(str(i + 1) for i in hit)
    said = (
        f"In {len(hit)} of {acting} layers ({numbers}) more than 90 % of the tokens get nearly "
        "p_max, within 5 % of the range below it."
    )
    if layers[0].grid is None:
        return said
    return f"{said} Layer {hit[0] + 1}: {disguise_sentence(analysis, layers[hit[0]])}"


def mean_meter(given: list[Meter]) -> str:
    """The layers' averages, in words."""
    if not given:
        return ""
    protected = np.mean([one.protected for one in given])
    differing = 100 * np.mean([one.differing for one in given])
    return (
        f"On average over the layers, protection is spread over {protected:.0f} of "
        f"{given[0].eligible} tokens, and {differing:.1f} % of the decisions differ from vanilla "
        "dropout at the same rate."
    )

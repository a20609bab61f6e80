"""What each condition predicts: one row a class, all conditions on one axis."""

from __future__ import annotations

from html import escape

import numpy as np
import plotly.graph_objects as go

from app.figures.theme import CONDITION_COLOURS, CONDITION_NAMES, plain
from drople.analysis import Analysis
from drople.conditions import Prediction

ROWS = 10
_SYMBOLS = {"frozen": "circle", "adapted": "circle", "vanilla": "line-ns", "iwtd": "line-ns"}


def rows_shown(analysis: Analysis, target: int) -> list[int]:
    """At most ten classes, likeliest first: the best of frozen and adapted, and the target."""
    order = by_likelihood(analysis)
    return order[:ROWS] if target in order[:ROWS] else [*order[: ROWS - 1], target]


def by_likelihood(analysis: Analysis) -> list[int]:
    """All classes, likeliest first by the best of frozen and adapted."""
    first = analysis.conditions[: 2 if analysis.adapted else 1]
    likely = np.max([analysis.predictions[c].probabilities for c in first], axis=0)
    return [int(i) for i in np.argsort(-likely, kind="stable")]


def predictions_figure(analysis: Analysis, target: int, quantity: str = "probability") -> go.Figure:
    """Dumbbells: frozen to adapted, with a tick for each dropout in this draw.

    Args:
        quantity: "probability" or "cosine", what the axis shows.
    """

    def shown_of(said: Prediction) -> np.ndarray:
        values = said.probabilities if quantity == "probability" else said.cosines
        return values[shown]

    shown = rows_shown(analysis, target)
    names = [short(analysis.classes[i]) for i in shown]
    figure = go.Figure()
    if analysis.adapted:
        frozen = shown_of(analysis.predictions["frozen"])
        adapted = shown_of(analysis.predictions["adapted"])
        for row, (a, b) in enumerate(zip(frozen, adapted, strict=True)):
            figure.add_shape(
                type="line", x0=float(a), x1=float(b), y0=row, y1=row, layer="below",
                line={"color": "rgba(100,116,139,0.45)", "width": 5},
            )  # fmt: skip
    for condition in analysis.conditions:
        said = analysis.predictions[condition]
        dot = _SYMBOLS.get(condition, "line-ns")
        figure.add_scatter(
            x=shown_of(said),
            y=list(range(len(shown))),
            mode="markers",
            name=CONDITION_NAMES[condition],
            marker={
                "symbol": dot,
                "size": 13 if dot == "circle" else 20,
                "color": CONDITION_COLOURS[condition],
                "line": {"width": 3, "color": CONDITION_COLOURS[condition]},
            },
            customdata=np.stack(
                [said.probabilities[shown], said.cosines[shown], said.logits[shown]], axis=1
            ),
            hovertemplate=(
                f"<b>{CONDITION_NAMES[condition]}</b><br>%{{text}}"
                "<br>probability %{customdata[0]:.4f}<br>cosine %{customdata[1]:.4f}"
                "<br>logit %{customdata[2]:.2f}<extra></extra>"
            ),
            text=names,
        )
    figure.update_yaxes(
        tickvals=list(range(len(shown))), ticktext=names, range=[len(shown) - 0.5, -0.5],
        showgrid=False, zeroline=False, automargin=True,
    )  # fmt: skip
    figure.update_xaxes(title=quantity, gridcolor="rgba(100,116,139,0.25)", zeroline=False)
    if quantity == "probability":
        figure.update_xaxes(range=[-0.03, 1.03], tickvals=[0, 0.25, 0.5, 0.75, 1])
    return plain(figure, height=110 + 38 * len(shown), legend=True)


def short(name: str, length: int = 24) -> str:
    """A class name for an axis: escaped, since plotly reads markup, and not too long."""
    return escape(name if len(name) <= length else name[: length - 1] + "…")

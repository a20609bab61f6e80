"""Residual entropy: what both branches and the residual say, and where the term pulls."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from app.figures.theme import CONDITION_COLOURS, plain
from drople.lab.residual import Reading, Residual

COLOUR = "#a21caf"  # of the residual; no condition has it
SHOWN = 10  # classes


def shown_classes(reading: Reading, residual: Residual, target: int) -> list[int]:
    """The class looked at and the likeliest others anywhere, likeliest of the residual first."""
    said = (reading.frozen, reading.adapted, residual.probabilities, residual.stepped)
    likely = np.argsort(-np.max(said, axis=0), kind="stable")
    others = [int(i) for i in likely if i != target][: SHOWN - 1]
    return sorted([target, *others], key=lambda i: -residual.probabilities[i])


def residual_figure(
    reading: Reading, residual: Residual, classes: tuple[str, ...], *, target: int
) -> go.Figure:
    """A row a class: a dot for each branch and the residual; an arrow where the term pulls it."""
    shown = shown_classes(reading, residual, target)
    rows = list(range(len(shown)))
    figure = go.Figure()
    for name, p, colour, symbol in (
        ("frozen", reading.frozen, CONDITION_COLOURS["frozen"], "circle"),
        ("adapted, under IWTD", reading.adapted, CONDITION_COLOURS["iwtd"], "circle"),
        ("residual", residual.probabilities, COLOUR, "diamond"),
    ):
        figure.add_scatter(
            x=[float(p[i]) for i in shown], y=rows, mode="markers", name=name,
            marker={"color": colour, "size": 12 if symbol == "diamond" else 11, "symbol": symbol},
            customdata=[classes[i] for i in shown],
            hovertemplate=f"<b>%{{customdata}}</b><br>{name} %{{x:.3f}}<extra></extra>",
        )  # fmt: skip
    for row, i in zip(rows, shown, strict=True):
        start, end = float(residual.probabilities[i]), float(residual.stepped[i])
        if abs(end - start) >= 0.002:  # less is no arrow but a smudge
            figure.add_annotation(
                x=end, y=row, ax=start, ay=row, xref="x", yref="y", axref="x", ayref="y", text="",
                showarrow=True, arrowhead=2, arrowsize=1, arrowwidth=2, arrowcolor=COLOUR,
                yshift=-11,
            )  # fmt: skip
    figure.update_yaxes(tickvals=rows, ticktext=[classes[i] for i in shown], autorange="reversed")
    figure.update_xaxes(title="probability", range=[-0.02, 1.02], showgrid=True)
    return plain(figure, height=110 + 38 * len(rows), legend=True)


def schedule_figure(lambdas: np.ndarray, epoch: int) -> go.Figure:
    """Lambda over the epochs, and where the reading stands.

    Args:
        epoch: from 0.
    """
    figure = go.Figure()
    figure.add_scatter(
        x=np.arange(1, len(lambdas) + 1), y=lambdas, mode="lines", line={"color": COLOUR},
        hovertemplate="epoch %{x}: lambda %{y:.3f}<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=[epoch + 1], y=[lambdas[epoch]], mode="markers", hoverinfo="skip",
        marker={"color": COLOUR, "size": 12, "symbol": "diamond"},
    )  # fmt: skip
    figure.update_xaxes(title="epoch")
    figure.update_yaxes(title="lambda", range=[-0.005, 0.105])
    return plain(figure, height=230)

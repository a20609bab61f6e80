"""Residual entropy: what both branches and the residual say, and which way the loss pulls."""

from __future__ import annotations

import math

import numpy as np
import plotly.graph_objects as go

from app.figures.theme import CONDITION_COLOURS, plain
from app.lab.display.tables import Table, table_of, table_under
from drople.lab.residual import STEP, WEIGHTS, Reading, Residual

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


# term -> what it is, where it is known from, its weight
TERMS = {
    "cross_entropy": ("cross entropy, the class looked at as the label", "code", 1.0),
    "text_l1": ("mean |Z_t^d - Z_t^o|", "code", WEIGHTS.text_l1),
    "image_l1": ("mean |Z_v^d - Z_v^o|", "code", WEIGHTS.image_l1),
    "distillation": ("KL(frozen || adapted) / K", "code", WEIGHTS.distillation),
    "entropy_image": ("H(p(y|Z_v^r)), to be raised", "paper, code", -WEIGHTS.residual_entropy),
    "entropy_text": ("H(p(y|Z_t^r)), to be raised", "paper, code", -WEIGHTS.residual_entropy),
    "alignment": ("alignment of the bridge", "code", WEIGHTS.alignment),
}


def probability_table(
    reading: Reading, residual: Residual, classes: tuple[str, ...], *, shown: list[int]
) -> Table:
    """The classes' probabilities, and the entropies."""
    columns = {
        "frozen": (reading.frozen, reading.frozen_entropy),
        "adapted, under IWTD": (reading.adapted, reading.adapted_entropy),
        "residual": (residual.probabilities, residual.entropy),
        "after the step": (residual.stepped, residual.stepped_entropy),
    }
    rows = [
        {"class": classes[i], **{name: f"{p[i]:.3f}" for name, (p, _) in columns.items()}}
        for i in shown
    ]
    rows.append({"class": "H, nats", **{name: f"{h:.3f}" for name, (_, h) in columns.items()}})
    return table_of(rows)


def terms_table(reading: Reading) -> Table:
    """The terms of the loss; the last row is their sum."""
    rows = [
        [what, source, f"{reading.terms[name]:.4f}", f"{weight:+g}",
         f"{weight * reading.terms[name]:+.4f}"]
        for name, (what, source, weight) in TERMS.items()
        if name in reading.terms
    ]  # fmt: skip
    rows.append(["loss", "code", "", "", f"{reading.terms['total']:+.4f}"])
    headers = ("term of the objective", "read from", "value", "weight", "adds to the loss")
    return table_under(headers, rows)


def residual_sentence(
    reading: Reading, residual: Residual, classes: tuple[str, ...], *, drawn: str
) -> str:
    """How undecided branches and residual are, where the term pulls, and how hard.

    Args:
        drawn: which dropout acted, and in which draw.
    """
    most = f"of at most {math.log(len(classes)):.2f}"
    said = (
        f"Lambda {reading.lam:.3f}. {drawn} H is {reading.frozen_entropy:.2f} nats for the frozen "
        f"branch, {reading.adapted_entropy:.2f} for the adapted one and {residual.entropy:.2f} for "
        f"the residual, {most}. "
    )
    change = residual.stepped - residual.probabilities
    down, up = int(np.argmin(change)), int(np.argmax(change))
    if change[up] < 5e-4:
        return f"{said}There is next to nothing to pull: a step of {STEP:g} changes no probability."
    share = residual.pull / residual.cross_entropy_pull if residual.cross_entropy_pull else math.inf
    than = (
        f"{share:.2g} times that of the cross entropy"
        if math.isfinite(share)
        else "all there is, as the cross entropy has none"
    )
    return (
        f"{said}The loss raises the residual's H: a step of {STEP:g} that way takes "
        f"{classes[down]} from {residual.probabilities[down]:.2f} to {residual.stepped[down]:.2f}, "
        f"gives most to {classes[up]} ({change[up]:+.3f}), and H becomes "
        f"{residual.stepped_entropy:.2f}. Its gradient, weighted, is {than}."
    )

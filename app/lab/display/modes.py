"""Modes side by side: how far each way of dropping moves the class looked at."""

from __future__ import annotations

import plotly.graph_objects as go

from app.figures.theme import CONDITION_COLOURS, CONDITION_NAMES, ZERO, plain
from app.lab.display.tables import Table, table_of
from drople.lab.modes import OFFICIAL, ModeEffect
from drople.tokens.dropout import DROP_MODES


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


MEANINGS = {
    **{name: f"{name}: {mode.description}" for name, mode in DROP_MODES.items()},
    OFFICIAL: f"{OFFICIAL}: noise 0.03, right after the layer.",
}


def modes_table(effects: list[ModeEffect], classes: tuple[str, ...]) -> Table:
    """What each mode does under each dropout."""
    return table_of([
        {
            "mode": MEANINGS[one.mode],
            "dropout": CONDITION_NAMES[one.strategy],
            "tokens drawn": f"{one.drawn}",
            "change of logit": f"{one.logit_change:+.3f}",
            "class looked at": f"{one.probability:.3f}",
            "answer": classes[one.answer],
        }
        for one in effects
    ])  # fmt: skip


def modes_sentence(effects: list[ModeEffect], plain_answer: str, classes: tuple[str, ...]) -> str:
    """Which mode moves the logit most and which leave the answer alone."""
    most = max(effects, key=lambda one: abs(one.logit_change))
    flips = sorted({one.mode for one in effects if classes[one.answer] != plain_answer})
    said = (
        f"{most.mode} under {CONDITION_NAMES[most.strategy]} moves the logit most, by "
        f"{most.logit_change:+.2f}."
    )
    if not flips:
        return f"{said} Every mode leaves the answer at {plain_answer}."
    return f"{said} The answer is no longer {plain_answer} with {', '.join(flips)}."

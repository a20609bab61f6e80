"""The modes in numbers: a row a mode and dropout, and which moves the logit most."""

from __future__ import annotations

from app.figures.theme import CONDITION_NAMES
from drople.lab.modes import OFFICIAL, ModeEffect
from drople.tokens.dropout import DROP_MODES

HEADERS = ("mode", "dropout", "tokens drawn", "change of logit", "class looked at", "answer")
MEANINGS = {
    **{name: f"{name}: {mode.description}" for name, mode in DROP_MODES.items()},
    OFFICIAL: f"{OFFICIAL}: noise 0.03, right after the layer.",
}


def modes_rows(effects: list[ModeEffect], classes: tuple[str, ...]) -> list[list[str]]:
    """The rows under `HEADERS`."""
    return [
        [
            MEANINGS[one.mode],
            CONDITION_NAMES[one.strategy],
            f"{one.drawn}",
            f"{one.logit_change:+.3f}",
            f"{one.probability:.3f}",
            classes[one.answer],
        ]
        for one in effects
    ]


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

"""Sinks in numbers: a row a layer, and what setting them aside changes."""

from __future__ import annotations

import numpy as np

from app.figures.theme import CONDITION_NAMES
from app.lab.display.sinks import Found
from drople.analysis import Analysis
from drople.lab.sinks import SinkEffect

HEADERS = (
    "layer", "branch", "norm: median", "norm: largest", "high norm", "attention: largest",
    "high attention", "both", "attention they get",
)  # fmt: skip
EFFECT_HEADERS = (
    "layer", "set aside", "mean p, undropped: before", "after", "sd of p: before", "after",
    "dropped: before", "after",
)  # fmt: skip


def sinks_rows(found: Found) -> list[list[str]]:
    """The rows under `HEADERS`, a layer and branch each."""
    return [
        [
            f"{one.depth + 1}",
            CONDITION_NAMES[branch],
            f"{np.median(one.norms[one.content]):.2f}",
            f"{one.norms[one.content].max():.2f}",
            f"{one.high_norm.sum()}",
            f"{one.received[one.content].max():.2f}",
            f"{one.high_attention.sum()}",
            f"{(one.high_norm & one.high_attention).sum()}",
            f"{100 * one.share:.1f} %",
        ]
        for layers in zip(*found.values(), strict=True)
        for branch, one in zip(found, layers, strict=True)
    ]


def sinks_sentence(found: Found, layer: int) -> str:
    """How many sinks this layer has, and which learned prompts are among them."""
    parts = []
    for branch, layers in found.items():
        one = layers[layer]
        both = (one.high_norm & one.high_attention).sum()
        part = (
            f"{CONDITION_NAMES[branch]}: {one.high_norm.sum()} of {one.content.sum()} tokens have "
            f"a far-out norm, {one.high_attention.sum()} get far-out attention "
            f"({100 * one.share:.0f} % of it all), {both or 'none'} of them "
            f"{'have' if both > 1 else 'has'} both"
        )
        start, stop = one.prompts
        names = [f"P{i - start + 1}" for i in range(start, stop) if one.high_attention[i]]
        parts.append(
            part + (f"; among the latter learned prompts {', '.join(names)}" if names else "")
        )
    return f"Layer {layer + 1}. {'; '.join(parts)}."


def effect_rows(effects: list[SinkEffect]) -> list[list[str]]:
    """The rows under `EFFECT_HEADERS`."""
    return [
        [
            f"{one.depth + 1}",
            f"{one.set_aside}",
            *(f"{p:.3f}" for p in (*one.mean_p, *one.sd_p)),
            *(f"{count}" for count in one.dropped),
        ]
        for one in effects
    ]


def effect_sentence(before: Analysis, after: Analysis, target: int) -> str:
    """What setting the sinks aside changes in the answer of this one draw."""
    said = [one.predictions["iwtd"] for one in (before, after)]
    answers = [
        one.classes[int(p.cosines.argmax())] for one, p in zip((before, after), said, strict=True)
    ]
    change = "stays" if answers[0] == answers[1] else "changes from " + answers[0] + " to"
    return (
        f"One draw (seed {before.settings.seed}): with IWTD, {before.classes[target]} goes from "
        f"{said[0].probabilities[target]:.3f} to {said[1].probabilities[target]:.3f}; the answer "
        f"{change} {answers[1]}. Set aside are tokens whose importance is far out; they keep "
        "p_min and stay in the network, but no longer set the scale of p. The mean p changes with "
        "it (see the table), so part of any change is that more or fewer tokens are dropped."
    )

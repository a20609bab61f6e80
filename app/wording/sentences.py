"""What a picture shows, in one or two sentences made from its numbers."""

from __future__ import annotations

import numpy as np

from drople.analysis import Analysis
from drople.measures import selectivity
from drople.traces import LayerTrace


def best_class(analysis: Analysis, condition: str) -> int:
    """The class a condition finds likeliest."""
    return int(np.argmax(analysis.predictions[condition].cosines))


def headline(analysis: Analysis, target: int) -> list[tuple[str, str]]:
    """The answer: (condition, what it says) for each condition there is."""
    said = []
    for condition in analysis.conditions:
        best = best_class(analysis, condition)
        p = analysis.predictions[condition].probabilities[best]
        said.append((condition, f"{analysis.classes[best]} {p:.2f}"))
    return said


def place(layer: LayerTrace, token: int) -> str:
    """Where a token of an image is, for a reader who counts from 1."""
    if layer.prompts[0] <= token < layer.prompts[1]:
        return f"prompt P{token - layer.prompts[0] + 1}"
    assert layer.grid is not None
    return f"row {(token - 1) // layer.grid[1] + 1}, column {(token - 1) % layer.grid[1] + 1}"


def disguise_sentence(analysis: Analysis, layer: LayerTrace) -> str:
    """A warning where one sink token makes IWTD equal to vanilla dropout; else nothing."""
    dropout = analysis.settings.dropout
    found = selectivity(layer, dropout.p_min, dropout.p_max)
    if found is None:
        return ""
    if found.near_top > 0.9 and found.sink is not None:
        return (
            f"⚠ The sink token at {place(layer, found.sink)} alone sets the scale "
            f"({100 * found.sink_share:.0f} % of the importance): {100 * found.near_top:.0f} % of "
            "the tokens get nearly p_max, so IWTD is vanilla dropout in disguise here."
        )
    if found.near_top > 0.9:
        return (
            f"⚠ {100 * found.near_top:.0f} % of the tokens get nearly p_max: IWTD is close to "
            "vanilla dropout here."
        )
    return ""


def learnt_classes(
    listed: tuple[str, ...], learnt: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The listed classes whose very names the prompts were trained on, and the others."""
    known = {name.casefold() for name in learnt}
    yes = tuple(name for name in listed if name.casefold() in known)
    return yes, tuple(name for name in listed if name.casefold() not in known)


def provenance_line(analysis: Analysis, draws: int = 0) -> str:
    """Where the pictures come from, in one line.

    Args:
        draws: of each dropout; 0: none but the one that an analysis with prompts holds itself.
    """
    known, dropout = analysis.provenance, analysis.settings.dropout
    parts = [f"{known['backbone']}@{known['backbone_hash'][:6]}"]
    if "prompts" in known:
        parts.append(f"{known['prompts']}@{known['prompts_hash'][:6]}")
    if "prompts" in known or draws:
        first, last = analysis.settings.seed, analysis.settings.seed + draws - 1
        parts.append("A: dropout applied now, to fixed weights")
        parts.append(f"{dropout.mode}, p {dropout.p_min:g} to {dropout.p_max:g}")
        many = f"{draws} draws, seeds {first} to {last}"
        parts.append(many if draws > 1 else f"one draw, seed {first}")
    return " · ".join([*parts, f"drople {known['drople']}", f"torch {known['torch']}"])

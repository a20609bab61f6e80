"""What a picture shows, in one or two sentences made from its numbers."""

from __future__ import annotations

from app.figures.theme import CONDITION_NAMES
from drople.analysis import Analysis
from drople.measures import selectivity
from drople.traces import LayerTrace


def headline(analysis: Analysis) -> dict[str, str]:
    """What each condition answers."""
    said = {}
    for name, one in analysis.predictions.items():
        best = int(one.cosines.argmax())
        said[name] = f"{analysis.classes[best]} {one.probabilities[best]:.2f}"
    return said


def inside(condition: str) -> str:
    """What a condition is called within a sentence."""
    name = CONDITION_NAMES[condition]
    return name if name[1:2].isupper() else name[:1].lower() + name[1:]


def place(token: int, grid: tuple[int, int]) -> str:
    """Where a token (patches row-major, then prompts) is, for a reader who counts from 1."""
    patches = grid[0] * grid[1]
    if token >= patches:
        return f"prompt P{token - patches + 1}"
    return f"row {token // grid[1] + 1}, column {token % grid[1] + 1}"


def disguise_sentence(analysis: Analysis, layer: LayerTrace) -> str:
    """A warning where one sink token makes IWTD equal to vanilla dropout; else nothing."""
    dropout = analysis.settings.dropout
    found = selectivity(layer, dropout.p_min, dropout.p_max)
    if found is None or found.near_top <= 0.9:
        return ""
    near = f"{100 * found.near_top:.0f} % of the tokens get nearly p_max"
    if found.sink is None:
        return f"⚠ {near}: IWTD is close to vanilla dropout here."
    assert layer.grid is not None
    return (
        f"⚠ The sink token at {place(found.sink - 1, layer.grid)} alone sets the scale "
        f"({100 * found.sink_share:.0f} % of the importance): {near}, so IWTD is vanilla dropout "
        "in disguise here."
    )


def provenance_line(analysis: Analysis, draws: int | None = 0) -> str:
    """Where the pictures come from, in one line.

    Args:
        draws: of each dropout; 0: none but the one that an analysis with prompts holds itself;
            None: what is shown ran without dropout.
    """
    known, dropout = analysis.provenance, analysis.settings.dropout
    parts = [f"{known['backbone']}@{known['backbone_hash'][:6]}"]
    if "prompts" in known:
        parts.append(f"{known['prompts']}@{known['prompts_hash'][:6]}")
    if draws is None:
        parts.append("no dropout")
    elif "prompts" in known or draws:
        first, last = analysis.settings.seed, analysis.settings.seed + draws - 1
        parts.append("A: dropout applied now, to fixed weights")
        by = f", {dropout.normalisation}" * (dropout.normalisation != "minmax")
        parts.append(f"{dropout.mode}, p {dropout.p_min:g} to {dropout.p_max:g}{by}")
        many = f"{draws} draws, seeds {first} to {last}"
        parts.append(many if draws > 1 else f"one draw, seed {first}")
    return " · ".join([*parts, f"drople {known['drople']}", f"torch {known['torch']}"])

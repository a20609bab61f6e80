"""Selectivity: whether IWTD chooses at all, and what another normalisation would make of it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app.glossary import intro
from app.lab.bench import NO_DROPOUT_HERE, Bench, numbers
from app.lab.display import selectivity as display
from app.lab.display.tables import table_of
from app.markdown import plain_text
from app.tabs.shared import View
from drople.analysis import Analysis
from drople.branches import ADAPTED
from drople.selectivity import what_if

INTRO = (
    "How far IWTD chooses between tokens in the undropped run: where all get nearly one p, it is "
    "vanilla dropout in disguise."
)
TERMS = (
    "Protection spread over: exp of the entropy of (p_max − p) shared out over the tokens (the "
    "Hill number of order 1). Divergence: Jensen–Shannon, of keep or drop, from one p for all at "
    "the same mean; averaged over the tokens. Decisions that differ: expected on the undropped "
    "run, where both compare the same random number; the overview counts those of its draws, in "
    "which tokens have gone. The what-ifs are ours, not the released code's; a sink lies above "
    "Q3 + 3 (Q3 − Q1) of the importance."
)
PICTURE, TEXT = "picture", "text of the class looked at"


def build(bench: Bench) -> list[View]:
    """Lays the view out."""
    intro(INTRO)
    with gr.Row(elem_classes="lens-controls"):
        branch = gr.Radio(
            [PICTURE, TEXT], value=PICTURE, label="Tokens", elem_id="meter-branch", min_width=200
        )
        other = gr.Dropdown(
            [("no other", ""), *((name, key) for key, name in display.NAMES.items())], value="rank",
            label="What if the importance were brought to 0 … 1 by", elem_id="meter-what-if",
            filterable=False, min_width=240,
        )  # fmt: skip
    plot = gr.Plot(show_label=False, elem_id="meter-plot")
    note = gr.Markdown(elem_id="meter-note", elem_classes="lens-note")
    table = numbers("meter-table", (170, 70, 80, 80, 80, 110, 140, 130, 110))
    gr.Markdown(TERMS, elem_classes="lens-note")
    return [View(draw, [branch, other], [plot, note, table])]


def draw(
    analysis: Analysis, target: int, branch: str, other: str
) -> tuple[Any, str, dict[str, Any]]:
    """The figure, what it warns of, and the numbers."""
    if not analysis.adapted:
        return None, NO_DROPOUT_HERE, table_of()
    trace = analysis.texts[ADAPTED] if branch == TEXT else analysis.images[ADAPTED]
    row = target if branch == TEXT else 0
    layers, dropout = list(trace.layers), analysis.settings.dropout
    measured = display.meters(layers, dropout.p_max, row)
    if not measured:
        return None, "No dropout acts on these tokens.", table_of()
    sentences = [display.warnings_of(analysis, layers, row), display.mean_meter(measured)]
    own = f"as it is: {display.NAMES[dropout.normalisation]}"
    given = {own: measured}
    if other in display.NAMES:
        instead = [what_if(layer, dropout, other) for layer in layers]  # type: ignore[arg-type]
        changed = display.meters(instead, dropout.p_max, row)
        given[f"what if: {display.NAMES[other]}"] = changed
        would = display.mean_meter(changed)
        sentences.append(f"With {display.NAMES[other]}, {would[0].lower()}{would[1:]}")
    figure = display.meter_figure(given)
    return figure, plain_text(" ".join(sentences)), display.meter_table(given)

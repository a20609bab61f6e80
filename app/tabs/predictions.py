"""Predictions: frozen, adapted, and adapted under each dropout, on one axis."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app.figures.predictions import predictions_figure
from app.glossary import intro
from app.markdown import plain_text
from app.tabs.shared import View
from app.wording.predictions import predictions_table, table_headers
from drople.analysis import Analysis

INTRO = (
    "What the frozen CLIP says, what the trained prompts make of it, and what one draw of each "
    "dropout changes. Probabilities depend on the logit scale; cosines do not."
)


def build() -> list[View]:
    """Lays the tab out."""
    intro(INTRO)
    quantity = gr.Radio(
        ["probability", "cosine"], value="probability", label="Axis", elem_id="predictions-axis"
    )
    plot = gr.Plot(show_label=False, elem_id="predictions-plot")
    note = gr.Markdown(elem_id="predictions-note", elem_classes="lens-note")
    with gr.Accordion("The numbers", open=False):
        table = gr.Dataframe(
            show_label=False, interactive=False, elem_id="predictions-table", buttons=["copy"],
            wrap=True,
        )  # fmt: skip
    return [View(draw, [quantity], [plot, note, table])]


def draw(analysis: Analysis, target: int, quantity: str) -> tuple[Any, str, dict[str, Any]]:
    """The figure, what its scales are, and the table."""
    predictions = analysis.predictions
    scales = ", ".join(
        f"{name} {predictions[name].logit_scale:.2f}"
        for name in ("frozen", "adapted")
        if name in predictions
    )
    texts = [f"frozen text: “{analysis.phrases['frozen'][target]}”"]
    if analysis.adapted:
        texts.append(f"adapted text: “{analysis.phrases['adapted'][target]}”")
    listed = len(analysis.classes)
    shown = " The ten that matter are drawn; the numbers have all." if listed > 10 else ""
    note = f"Logit scale: {scales}. For the class looked at, {'; '.join(texts)}.{shown}"
    if listed == 1:
        note += " With one class its probability is always 1: look at the cosine, or add classes."
    table = {"headers": table_headers(analysis), "data": predictions_table(analysis)}
    return predictions_figure(analysis, target, quantity), plain_text(note), table

"""Class minus mean: what in a Grad-CAM map is this class's own."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app.figures.class_maps import minus_scale, minus_sheet
from app.figures.theme import colour_bar
from app.glossary import intro
from app.lab.bench import Bench, numbers, table_of
from app.markdown import plain_text
from app.tabs.shared import View, picture
from app.wording.class_maps import HEADERS, minus_rows
from drople.analysis import Analysis
from drople.gradcam import CAM_METHODS

INTRO = (
    "The Grad-CAM map of the class looked at minus the mean over the listed classes: what speaks "
    "for this class rather than for any (A: dropout applied now, in one draw)."
)


def build(bench: Bench) -> list[View]:
    """Lays the view out."""
    intro(INTRO)
    with gr.Row(), gr.Column(elem_classes="lens-two"):
        sheet = picture("Class minus mean", "minus-sheet")
        bar = gr.HTML(elem_id="minus-bar")
    said = gr.Markdown(elem_id="minus-note", elem_classes="lens-note")
    table = numbers("minus-table", HEADERS, (150, 200, 230, 230))
    return [View(draw, [], [sheet, bar, said, table])]


def draw(analysis: Analysis, target: int) -> tuple[Any, str, str, dict[str, Any]]:
    """The sheet, its scale, the sentence and the table."""
    maps, name = analysis.maps, analysis.classes[target]
    missing = ""
    if target not in maps.classes:
        missing = f"No map of {name} yet: press Analyse to compute it."
    elif len(maps.classes) < 2:
        missing = "With a single class there is no mean to compare with: add classes."
    elif not CAM_METHODS[maps.method].per_class:
        missing = f"{CAM_METHODS[maps.method].label} gives every class the same map."
    if missing:
        return None, "", plain_text(missing), table_of(HEADERS)
    sentence = (
        f"{name} minus the mean of {len(maps.classes)} classes, {name} among them. Where its "
        "correlation with the other classes’ mean is near 1, the map shows what any class would."
    )
    table = table_of(HEADERS, minus_rows(analysis, target))
    shown = gr.Image(minus_sheet(analysis, target), alt_text=sentence)
    return shown, colour_bar(minus_scale(analysis, target)), plain_text(sentence), table

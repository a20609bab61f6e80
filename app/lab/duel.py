"""The duel: any dropouts beside each other, with one shared draw at one rate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gradio as gr

from app.figures import duel as figures
from app.figures.cams import cam_scale
from app.figures.theme import colour_bar
from app.glossary import intro
from app.lab.bench import Bench, Computation, layer_index, numbers, reach_of, table_of
from app.lab.question import Question
from app.markdown import plain_text
from app.tabs.shared import View, picture
from app.wording import duel as wording
from drople.analysis import Analysis
from drople.branches import ADAPTED
from drople.tokens.dropout import COMPARED

INTRO = (
    "Dropouts in columns on one scale: what each drops after a layer (hatched), and what that "
    "does to the Grad-CAM of the class looked at."
)
# Every strategy; the undropped column is the adapted branch, and the match is a switch.
COLUMNS = (ADAPTED, *COMPARED)


def build(bench: Bench) -> list[View]:
    """Lays the view out."""
    choices = [(figures.column_name(c), c) for c in COLUMNS]
    intro(INTRO)
    columns = gr.CheckboxGroup(
        choices, value=[ADAPTED, "vanilla", "iwtd"], label="Columns", elem_id="duel-columns"
    )
    with gr.Row(elem_classes="lens-controls"):
        matched = gr.Checkbox(
            True, label="Matched rate", elem_id="duel-matched", min_width=180,
            info="Every dropout at IWTD's mean p, layer by layer.",
        )  # fmt: skip
        layer = gr.Slider(1, 12, 1, step=1, label="Layer", elem_id="duel-layer", min_width=160)
        button = gr.Button("Compute these columns", elem_id="duel-compute", min_width=160)
    sheet = picture("The duel", "duel-sheet")
    bar = gr.HTML(elem_id="duel-bar")
    note = gr.Markdown(elem_id="duel-note", elem_classes="lens-note")
    table = numbers("duel-table", wording.HEADERS, (150, 90, 110, 100, 80, 110, 130, 140))
    gr.Markdown("What differs between two columns", elem_classes="lens-caption")
    with gr.Row(elem_classes="lens-controls"):
        first = gr.Dropdown(choices, value="iwtd", label="First", elem_id="duel-first",
                            filterable=False, min_width=140)  # fmt: skip
        second = gr.Dropdown(choices, value="vanilla", label="minus second",
                             elem_id="duel-second", filterable=False, min_width=140)  # fmt: skip
    with gr.Row(), gr.Column(scale=1, min_width=260, elem_classes="lens-one"):
        difference = picture("Difference", "duel-difference")
        difference_bar = gr.HTML(elem_id="duel-difference-bar")
    # A view draws the columns of the analysis itself too, so nothing need be pressed.
    views = Computation(
        compute,
        [
            View(draw, [columns, matched, layer], [sheet, bar, note, table]),
            View(draw_difference, [matched, first, second], [difference, difference_bar]),
        ],
        note, press=None, run=button, inputs=[columns, matched, first, second],
        needs_prompts=True, per_class=False,
    ).on(bench)  # fmt: skip
    return [reach_of(layer), *views]


def compute(
    question: Question,
    columns: list[str],
    matched: bool,
    first: str,
    second: str,
    *,
    progress: gr.Progress,
) -> Iterator[Analysis]:
    """The same question with these strategies as rows of one batch."""
    progress(0.1, desc="the columns side by side, then their maps")
    wanted = {*columns, first, second, "iwtd"} - {ADAPTED}
    settings = replace(
        question.analysis.settings,
        strategies=tuple(c for c in COLUMNS if c in wanted),
        matched=matched,
        target=question.analysis.classes[question.target],
    )
    yield question.again(settings)


def _known(analysis: Analysis, more: Analysis | None, matched: bool) -> Analysis | None:
    """The analysis with the most columns at this rate; None where none is at it."""
    for one in (more, analysis):
        if one is not None and one.settings.matched == matched:
            return one
    return None


def draw(
    analysis: Analysis,
    target: int,
    more: Analysis | None,
    columns: list[str],
    matched: bool,
    layer: float,
) -> tuple[Any, ...]:
    """The sheet, its scale, the sentence and the table, of the columns there are."""
    one = _known(analysis, more, matched)
    if one is None:
        return None, "", "This rate is not computed yet: press Compute.", table_of(wording.HEADERS)
    shown = tuple(c for c in COLUMNS if c in columns and c in one.images)
    missing = [figures.column_name(c) for c in COLUMNS if c in columns and c not in one.images]
    if not shown:
        return None, "", "Choose a column, then press Compute.", table_of(wording.HEADERS)
    index = layer_index(analysis, layer)
    sentence = wording.duel_sentence(one, shown, index, target)
    if missing:
        sentence += f" Press Compute to add {', '.join(missing)}."
    bar = ""
    if target in one.maps.classes:
        bar = colour_bar(cam_scale(one.maps, one.maps.classes.index(target)))
    else:
        sentence += f" No map of {one.classes[target]} yet: press Compute."
    table = table_of(wording.HEADERS, wording.duel_table(one, shown, index, target))
    drawn = gr.Image(figures.duel_sheet(one, shown, index, target), alt_text=sentence)
    return drawn, bar, plain_text(sentence), table


def draw_difference(
    analysis: Analysis, target: int, more: Analysis | None, matched: bool, first: str, second: str
) -> tuple[Any, str]:
    """The signed difference of two columns' maps."""
    one = _known(analysis, more, matched)
    if one is None or not {first, second} <= one.images.keys():
        return None, "" if one is None else "Press Compute to have both columns."
    pair = tuple(c for c in COLUMNS if c in one.images)
    scale = figures.difference_scale(one, pair, target)
    panel = figures.difference_panel(one, first, second, target, scale)
    if panel is None:
        return None, ""
    title = f"{figures.column_name(first)} minus {figures.column_name(second)}"
    return gr.Image(panel, alt_text=title), colour_bar(scale)

"""Explained: what makes the adapted logit differ from the frozen one, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import gradio as gr

from app.glossary import intro
from app.lab.bench import Bench, Computation, layer_index, numbers
from app.lab.display import direct_path as display
from app.lab.question import Question
from app.markdown import plain_text
from app.tabs.shared import View, picture, pictured
from drople.analysis import Analysis
from drople.branches import ADAPTED
from drople.lab.branch import run_branches
from drople.lab.direct_path import Explained, explain_difference

INTRO = (
    "What makes the adapted branch give the class looked at another logit than the frozen one, "
    "without dropout, split over layers and patches. Direct path only: what a layer writes into "
    "the class token; what it writes into other tokens counts in the layer that fetches it."
)
LOGIT, LEAD = "its logit", "its lead over the runner-up"
ALL, ONE = "all layers", "the layer looked at"
PRESS = "Press Explain: it takes about a second with mini."


def build(bench: Bench) -> list[View]:
    """Lays the view out."""
    intro(INTRO)
    with gr.Row(elem_classes="lens-controls"):
        what = gr.Radio([LOGIT, LEAD], value=LOGIT, label="Split", elem_id="direct-what")
        layers = gr.Radio([ALL, ONE], value=ALL, label="Map of", elem_id="direct-layers")
        run = gr.Button("Explain", elem_id="direct-run", min_width=90)
    with gr.Row():
        with gr.Column(scale=3, min_width=280):
            plot = gr.Plot(show_label=False, elem_id="direct-plot")
        with gr.Column(scale=2, min_width=240):
            photo = picture("What attention fetches from each patch", "direct-map")
            bar = gr.HTML(elem_id="direct-bar")
    note = gr.Markdown(elem_id="direct-note", elem_classes="lens-note")
    table = numbers("direct-table", (220, 100, 100, 100, 130, 100, 110))
    view = View(draw, [what, layers, bench.layer], [plot, photo, bar, note, table])
    computation = Computation(compute, [view], note, press=PRESS, run=run, needs_prompts=True)
    return computation.on(bench)


def compute(question: Question, *, progress: gr.Progress) -> Iterator[dict[str, Explained]]:
    """LOGIT, and LEAD where there is a runner-up, of one run of each branch."""
    analysis, target, model = question.analysis, question.target, question.prompted
    rival = runner_up(analysis, target)
    progress((0, 2), desc="1 of 2: both branches")
    records = run_branches(model, analysis.pixels)
    progress((1, 2), desc="2 of 2: their parts")
    explain = partial(explain_difference, model, records, question.texts, target=target)
    parts = {LOGIT: explain()}
    yield parts if rival is None else {**parts, LEAD: explain(against=rival)}


def runner_up(analysis: Analysis, target: int) -> int | None:
    """The likeliest other class of the adapted branch; None without one."""
    order = analysis.predictions[ADAPTED].cosines.argsort()[::-1]
    return next((int(i) for i in order if i != target), None)


def draw(
    analysis: Analysis,
    target: int,
    parts: dict[str, Explained],
    what: str,
    layers: str,
    layer: float,
) -> tuple[Any, ...]:
    """The bars, the map with its scale, the sentence and the table."""
    shown = what if what in parts else LOGIT
    one, name, rival = parts[shown], analysis.classes[target], runner_up(analysis, target)
    title = f"The logit of {name}"
    if shown == LEAD and rival is not None:
        title = f"The lead of {name} over {analysis.classes[rival]}"
    sentence = display.parts_sentence(one, title)
    at = layer_index(analysis, layer) if layers == ONE else None
    photo = pictured(display.map_panel(analysis, one.image, at), sentence)
    return display.layers_figure(one), *photo, plain_text(sentence), display.parts_table(one)

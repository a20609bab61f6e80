"""Sanity check: the network is randomised from its last block downwards, and the maps watched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from app.figures.names import MAP_CHOICES
from app.glossary import intro
from app.lab.bench import Bench, Computation, numbers
from app.lab.display import sanity as display
from app.lab.question import Question
from app.markdown import plain_text
from app.tabs.shared import View, picture, pictured
from drople.analysis import Analysis
from drople.branches import ADAPTED, FROZEN
from drople.lab.sanity import Depth, depths_of, run_cascade

INTRO = (
    "Draw the weights anew, block by block from the last one down: a map that hardly changes does "
    "not show what the network has learnt."
)
TERMS = (
    "Cascading randomisation after Adebayo et al., 2018, on a copy of the image tower. Every "
    "tensor of a block is drawn from a normal distribution with its own mean and sd; embeddings, "
    "prompts, class texts and the read-out stay. Likeness: Spearman's correlation of the patches' "
    "ranks, signed, and in brackets the share of the top tenth of patches that stays in it (10 % "
    "by chance). Below each picture: how many of the last blocks are new, and Spearman. Smooth "
    "maps can be alike by accident: small values say little, and one draw of new weights is one "
    "draw."
)
PRESS = "Press Randomise the weights: the first maps come at once."


def build(bench: Bench) -> list[View]:
    """Lays the view out."""
    intro(INTRO)
    with gr.Row(elem_classes="lens-controls"):
        run = gr.Button("Randomise the weights", elem_id="sanity-run", min_width=160)
        stop = gr.Button("Stop", elem_id="sanity-stop", min_width=90)
    shown = gr.Radio(
        MAP_CHOICES, value=ADAPTED, label="Show", elem_id="sanity-map",
    )  # fmt: skip
    with gr.Row(), gr.Column(elem_classes="lens-two"):
        sheet = picture("One map at every depth", "sanity-sheet")
        bar = gr.HTML(elem_id="sanity-bar")
    plot = gr.Plot(show_label=False, elem_id="sanity-plot")
    note = gr.Markdown(elem_id="sanity-note", elem_classes="lens-note")
    table = numbers("sanity-table", (110, *[150] * 5))
    gr.Markdown(TERMS, elem_classes="lens-note")
    view = View(draw, [shown], [sheet, bar, plot, note, table])
    return Computation(compute, [view], note, press=PRESS, run=run, stop=stop).on(bench)


def compute(question: Question, *, progress: gr.Progress) -> Iterator[tuple[Depth, ...]]:
    """Depth by depth; in between, others find the model as it was learnt."""
    seed, blocks = question.analysis.settings.seed, len(question.analysis.images[FROZEN].layers)
    count = len(depths_of(blocks))
    depths: tuple[Depth, ...] = ()
    for depth in run_cascade(
        question.loaded.model, question.mapped(), question.texts, target=question.target, seed=seed
    ):
        progress((len(depths), count), desc=f"{depth.randomised} of {blocks} blocks randomised")
        depths = (*depths, depth)
        yield depths


def draw(
    analysis: Analysis, target: int, depths: tuple[Depth, ...], shown: str
) -> tuple[Any, str, Any, str, dict[str, Any]]:
    """The strip, its scale, the curve, the sentence and the table."""
    sentence = display.cascade_sentence(analysis, depths, len(analysis.images[FROZEN].layers))
    name = shown if shown in depths[0].maps else next(iter(depths[0].maps))
    sheet = pictured(display.cascade_sheet(analysis, depths, name), sentence)
    table = display.cascade_table(analysis, depths)
    return *sheet, display.cascade_figure(depths), plain_text(sentence), table

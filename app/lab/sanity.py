"""Sanity check: the network is drawn anew from its last block downwards, and the maps watched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.calls import user_errors
from app.figures.sanity import RANKS, cascade_figure, cascade_sheet
from app.figures.theme import CONDITION_NAMES, colour_bar
from app.glossary import intro
from app.lab.bench import Bench, Question, numbers, table_of
from app.markdown import plain_text
from app.studio import Studio
from app.tabs.shared import View, picture
from app.wording.sanity import cascade_headers, cascade_rows, cascade_sentence
from drople.analysis import Analysis, same_question
from drople.branches import ADAPTED, FROZEN
from drople.lab.patch_maps import IMPORTANCE
from drople.lab.sanity import Depth, depths_of, run_cascade
from drople.models.prompted_clip import PromptedClip

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
MAPS = (FROZEN, ADAPTED, "vanilla", "iwtd", IMPORTANCE)


@dataclass(frozen=True)
class Cascade:
    """What was computed so far, and for which question."""

    analysis: Analysis
    target: int
    found: tuple[Depth, ...]
    blocks: int
    done: bool


def build(bench: Bench) -> list[View]:
    """Lays the view out."""
    intro(INTRO)
    with gr.Row(elem_classes="lens-controls"):
        run = gr.Button("Draw the weights anew", elem_id="sanity-run", min_width=160)
        stop = gr.Button("Stop", elem_id="sanity-stop", min_width=90)
    shown = gr.Radio(
        [("Importance" if n == IMPORTANCE else f"Map of {CONDITION_NAMES[n]}", n) for n in MAPS],
        value=ADAPTED, label="Show", elem_id="sanity-map",
    )  # fmt: skip
    with gr.Row(), gr.Column(elem_classes="lens-two"):
        sheet = picture("One map at every depth", "sanity-sheet")
        bar = gr.HTML(elem_id="sanity-bar")
    plot = gr.Plot(show_label=False, elem_id="sanity-plot")
    said = gr.Markdown(elem_id="sanity-note", elem_classes="lens-note")
    table = numbers("sanity-table", ("blocks drawn anew",), (110, *[150] * 5))
    gr.Markdown(TERMS, elem_classes="lens-note")
    held: gr.State = gr.State(None, time_to_live=3600)
    outputs = [sheet, plot, said, table, bar]
    bench.streams((run, stop), compute, [shown], [held, *outputs], said)
    return [View(draw, [shown], outputs, [held])]


def compute(
    studio: Studio,
    analysis: Analysis | None,
    target: str | None,
    backbone: str,
    prompts: str,
    shown: str,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  # how Gradio asks for one
) -> Iterator[tuple[Any, ...]]:
    """Depth by depth; another visitor may compute in between, with the model as it was learnt."""
    with user_errors():
        asked = Question.of(studio, analysis, target, backbone, prompts)
        analysis, index = asked.analysis, asked.target
        model = asked.loaded.model
        clip = model.backbone if isinstance(model, PromptedClip) else model
        steps = run_cascade(
            model, asked.mapped(), asked.texts(), target=index, seed=analysis.settings.seed
        )
        blocks = clip.image_layer_count
        found: tuple[Depth, ...] = ()
        count = len(depths_of(blocks))
        while step := studio.in_turn(lambda: next(steps, None)):
            progress((len(found), count), desc=f"{step.redrawn} of {blocks} blocks drawn anew")
            found = (*found, step)
            done = step.redrawn == blocks
            held = Cascade(analysis, index, found, blocks, done)
            yield held, *draw(analysis, index, held, shown)


def draw(
    analysis: Analysis, target: int, held: Cascade | None, shown: str
) -> tuple[Any, Any, str, dict[str, Any], str]:
    """The strip, the curve, the sentence and the table of what was computed for this question."""
    fits = held is not None and held.target == target and same_question(held.analysis, analysis)
    if held is None or not fits:
        return None, None, "Press Draw: the first maps come at once.", table_of(("",)), ""
    found = held.found
    sentence = cascade_sentence(analysis, found, held.blocks)
    if held.done:
        sentence = f"Done. {sentence}"
    name = shown if shown in found[0].maps else next(iter(found[0].maps))
    sheet = gr.Image(cascade_sheet(analysis, found, name), alt_text=sentence)
    table = table_of(cascade_headers(analysis, found), cascade_rows(found))
    return sheet, cascade_figure(found), plain_text(sentence), table, colour_bar(RANKS)

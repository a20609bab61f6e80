"""Prompts: how many each layer adds, removes and carries, and how much is learnt at all."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from app.glossary import intro
from app.lab.bench import NO_DROPOUT_HERE, Bench, numbers
from app.lab.display.prompts import (
    counts_sentence,
    counts_table,
    learnt_sentence,
    learnt_table,
    prompts_figure,
)
from app.lab.display.tables import table_of
from app.markdown import plain_text
from app.studio import Studio
from app.tabs.shared import View
from drople.analysis import Analysis
from drople.branches import ADAPTED, FROZEN
from drople.errors import DropleError
from drople.lab.prompts import count_prompts, counterpart, learnt_numbers
from drople.models.prompts import PromptPlan

INTRO = (
    "On entering a layer, old prompts go and fresh ones come. DroPLe replaces them all; MPL "
    "removes the newest and carries the others on. Counted in the steps that the forward itself "
    "takes: above, the loaded prompts; below, the other way, with its own numbers."
)
OTHER_PROMPTS = "The form names other prompts than this analysis has. Press Analyse."
NAMES = {
    "replace": "replaced, DroPLe's plan",
    "coupled": "coupled",
    "modular": "carried, MPL's plan",
}


def build(bench: Bench) -> list[View]:
    """Lays the view out."""
    intro(INTRO)
    note = gr.Markdown(elem_id="prompts-note", elem_classes="lens-note")
    own = gr.Plot(show_label=False, elem_id="prompts-plot")
    beside = gr.Markdown(elem_id="prompts-beside", elem_classes="lens-note")
    other = gr.Plot(show_label=False, elem_id="prompts-other")
    table = numbers("prompts-table", (60, 120, 70, 80, 110, 120, 70, 80, 110))
    learnt = gr.Markdown(elem_id="prompts-learnt-note", elem_classes="lens-note")
    sizes = numbers("prompts-learnt", (190, 140, 90, 90, 80, 100, 110))
    outputs = [note, own, beside, other, table, learnt, sizes]
    return [View(partial(draw, bench.studio), [], outputs, held=bench.source)]


def draw(
    studio: Studio, analysis: Analysis, target: int, backbone: str, prompts: str
) -> tuple[Any, ...]:
    """The sentence, both figures, the counts, and the numbers learnt."""
    found = learnt_numbers()
    learnt = (plain_text(learnt_sentence(found)), learnt_table(found))
    plan = plan_of(studio, analysis, backbone, prompts=prompts)
    if not isinstance(plan, PromptPlan):
        return plain_text(plan), None, "", None, table_of(), *learnt
    depths = {
        "image_layers": len(analysis.images[FROZEN].layers),
        "text_layers": len(analysis.texts[FROZEN].layers),
    }
    counts, others = (count_prompts(one, **depths) for one in (plan, counterpart(plan)))
    image, beside = counts["image"], others["image"]
    return (
        plain_text(counts_sentence(plan, counts)),
        prompts_figure(image, beside=beside),
        plain_text(f"For comparison, {NAMES[counterpart(plan).kind]}:"),
        prompts_figure(beside, beside=image),
        counts_table(counts),
        *learnt,
    )


def plan_of(studio: Studio, analysis: Analysis, backbone: str, *, prompts: str) -> PromptPlan | str:
    """Where the prompts of an analysis sit, read from the file the form names; else why not."""
    if ADAPTED not in analysis.images:
        return NO_DROPOUT_HERE
    try:
        card = studio.card(backbone, prompts)
    except DropleError as error:
        return str(error)
    if card is None or analysis.provenance["prompts"] not in (prompts, Path(prompts).stem):
        return OTHER_PROMPTS
    return card.plan

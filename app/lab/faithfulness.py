"""Faithfulness: whether a map's order of patches matters to the model more than chance's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr
import numpy as np

from app.calls import user_errors
from app.figures.faithfulness import curves_figure
from app.figures.names import map_name
from app.figures.theme import CONDITION_NAMES
from app.glossary import intro
from app.lab import pointing
from app.lab.bench import Bench, Question, numbers, table_of
from app.markdown import plain_text
from app.studio import Studio
from app.tabs.shared import View
from app.wording.faithfulness import HEADERS, faithfulness_rows, faithfulness_sentence
from drople.analysis import Analysis, same_question
from drople.branches import ADAPTED, FROZEN
from drople.lab.branch import Branch
from drople.lab.faithfulness import (
    QUANTITIES,
    REPLACEMENTS,
    Faithfulness,
    Quantity,
    run_erasures,
)
from drople.lab.patch_maps import IMPORTANCE, baseline_maps, judged_maps

INTRO = (
    "Delete the patches a map ranks highest, or show nothing but them: a map of what the model "
    "uses moves the answer faster than random orders, the picture's centre or plain edges."
)
TERMS = (
    "Area under each curve over the share of patches, in as many steps as the grid has rows. A "
    "patch is replaced by the picture's mean colour, or by the picture blurred with a Gaussian "
    "whose sd is one patch. In brackets: where 95 % of further random orders would lie (Student). "
    "One order has one area and no interval; ties within a map are broken at random. All maps are "
    "judged on the undropped adapted branch (the frozen one without prompts), whichever run they "
    "come from. Only ranks count, and the pictures in between are unlike any the model has seen. "
    "Sparsity is Gini's index of the map's |values|: 0 even, 1 all in one patch."
)
MAPS = (FROZEN, ADAPTED, "vanilla", "iwtd", IMPORTANCE)


@dataclass(frozen=True)
class Judged:
    """What was measured so far, and for which question."""

    analysis: Analysis
    target: int
    maps: dict[str, np.ndarray]  # (G, G) each, the baselines among them
    found: Faithfulness
    done: bool


def build(bench: Bench) -> list[View]:
    """Lays the view out."""
    intro(INTRO)
    chosen = gr.CheckboxGroup(
        [("Importance" if n == IMPORTANCE else f"Map of {CONDITION_NAMES[n]}", n) for n in MAPS],
        value=[ADAPTED, "iwtd", IMPORTANCE], label="Judge", elem_id="faithful-maps",
        info="Each takes about four seconds with mini; the baselines always stand beside them.",
    )  # fmt: skip
    with gr.Row(elem_classes="lens-controls"):
        orders = gr.Slider(
            2, 24, 4, step=1, label="Random orders", elem_id="faithful-orders", min_width=200
        )
        run = gr.Button("Measure", elem_id="faithful-run", min_width=90)
        stop = gr.Button("Stop", elem_id="faithful-stop", min_width=90)
    with gr.Row(elem_classes="lens-controls"):
        instead = gr.Radio(
            list(REPLACEMENTS), value=next(iter(REPLACEMENTS)), label="Patches replaced by",
            elem_id="faithful-instead", min_width=240,
        )  # fmt: skip
        quantity = gr.Radio(
            list(QUANTITIES), value=QUANTITIES[0], label="Of the class looked at",
            elem_id="faithful-quantity", min_width=240,
        )  # fmt: skip
    plot = gr.Plot(show_label=False, elem_id="faithful-plot")
    said = gr.Markdown(elem_id="faithful-note", elem_classes="lens-note")
    table = numbers("faithful-table", HEADERS, (230, 150, 150, 150, 150, 110, 90))
    gr.Markdown(TERMS, elem_classes="lens-note")
    held: gr.State = gr.State(None, time_to_live=3600)
    outputs = [plot, said, table]
    bench.streams((run, stop), compute, [chosen, orders, instead, quantity], [held, *outputs], said)
    return [View(draw, [instead, quantity], outputs, [held]), *pointing.build(bench)]


def compute(
    studio: Studio,
    analysis: Analysis | None,
    target: str | None,
    backbone: str,
    prompts: str,
    chosen: list[str],
    orders: float,
    instead: str,
    quantity: Quantity,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  # how Gradio asks for one
) -> Iterator[tuple[Any, ...]]:
    """Curve by curve; another visitor may compute in between."""
    with user_errors():
        asked = Question.of(studio, analysis, target, backbone, prompts)
        analysis, index = asked.analysis, asked.target
        maps = judged_maps(asked.mapped(), index)
        if analysis.adapted:
            maps = {name: map_ for name, map_ in maps.items() if name in chosen}
        maps |= baseline_maps(analysis)
        ask = partial(Branch.of(asked.loaded.model, asked.texts()).ask, index)
        first = [instead, *(name for name in REPLACEMENTS if name != instead)]
        steps = run_erasures(
            ask,
            analysis.pixels,
            maps,
            replacements=first,
            orders=int(orders),
            seed=analysis.settings.seed,
        )
        progress(0, desc="the first curve")
        while step := studio.in_turn(lambda: next(steps, None)):
            told_name = map_name(analysis, step.name)
            progress((step.done, step.count), desc=f"{step.done} of {step.count}: {told_name}")
            held = Judged(analysis, index, maps, step.found, done=step.done == step.count)
            yield held, *draw(analysis, index, held, instead, quantity)


def draw(
    analysis: Analysis, target: int, held: Judged | None, instead: str, quantity: Quantity
) -> tuple[Any, str, dict[str, Any]]:
    """The curves, the sentence and the table of what was measured for this very question."""
    fits = held is not None and held.target == target and same_question(held.analysis, analysis)
    if held is None or not fits:
        return None, "Press Measure: the first curves come at once.", table_of(HEADERS)
    sentence = faithfulness_sentence(analysis, held.found, target, quantity)
    if held.done:
        sentence = f"Done. {sentence}"
    rows = faithfulness_rows(analysis, held.maps, held.found, quantity)
    figure = curves_figure(analysis, held.found, instead, quantity)
    return figure, plain_text(sentence), table_of(HEADERS, rows)

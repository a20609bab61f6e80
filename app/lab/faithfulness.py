"""Faithfulness: whether a map's order of patches matters to the model more than chance's."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import gradio as gr
import numpy as np

from app.figures.names import MAP_CHOICES, map_name
from app.glossary import intro
from app.lab import pointing
from app.lab.bench import Bench, Computation, numbers
from app.lab.display import faithfulness as display
from app.lab.question import Question
from app.markdown import plain_text
from app.tabs.shared import View
from drople.analysis import Analysis
from drople.branches import ADAPTED
from drople.lab.branch import Branch
from drople.lab.faithfulness import QUANTITIES, REPLACEMENTS, Faithfulness, Quantity, run_erasures
from drople.lab.patch_maps import IMPORTANCE, baseline_maps, judged_maps

INTRO = (
    "Delete the patches a map ranks highest, or show nothing but them: a map of what the model "
    "uses moves the answer faster than random orders, the picture's centre or plain edges."
)
TERMS = (
    "Area under each curve over the share of patches, in as many steps as the grid has rows. A "
    "patch is replaced by the picture's mean colour, or by the picture blurred with a Gaussian "
    "whose sd is one patch. In brackets: where 95 % of further random orders would lie (t). "
    "One order has one area and no interval; ties within a map are broken at random. All maps are "
    "judged on the undropped adapted branch (the frozen one without prompts), whichever run they "
    "come from. Only ranks count, and the pictures in between are unlike any the model has seen. "
    "Sparsity is the Gini index of the map's |values|: 0 even, 1 all in one patch."
)
PRESS = "Press Measure: the first curves come at once."
Judged = tuple[dict[str, np.ndarray], Faithfulness]  # maps (G, G) with the baselines, and curves


def build(bench: Bench) -> list[View]:
    """Lays the view out."""
    intro(INTRO)
    chosen = gr.CheckboxGroup(
        MAP_CHOICES, value=[ADAPTED, "iwtd", IMPORTANCE], label="Judge", elem_id="faithful-maps",
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
    note = gr.Markdown(elem_id="faithful-note", elem_classes="lens-note")
    table = numbers("faithful-table", (230, 150, 150, 150, 150, 110, 90))
    gr.Markdown(TERMS, elem_classes="lens-note")
    curves = Computation(
        compute, [View(draw, [instead, quantity], [plot, note, table])], note,
        press=PRESS, run=run, stop=stop, inputs=[chosen, orders, instead],
    ).on(bench)  # fmt: skip
    return [*curves, *pointing.build(bench)]


def compute(
    question: Question, chosen: list[str], orders: float, instead: str, *, progress: gr.Progress
) -> Iterator[Judged]:
    """The maps, and what is measured of them so far, curve by curve."""
    analysis = question.analysis
    maps = judged_maps(question.mapped(), question.target)
    if analysis.adapted:
        maps = {name: map_ for name, map_ in maps.items() if name in chosen}
    maps |= baseline_maps(analysis)
    ask = partial(Branch.of(question.loaded.model, question.texts).ask, question.target)
    first = [instead, *(name for name in REPLACEMENTS if name != instead)]
    progress(0, desc="the first curve")
    for step in run_erasures(
        ask, analysis.pixels, maps,
        replacements=first, orders=int(orders), seed=analysis.settings.seed,
    ):  # fmt: skip
        name = map_name(analysis, step.name)
        progress((step.done, step.count), desc=f"{step.done} of {step.count}: {name}")
        yield maps, step.result


def draw(
    analysis: Analysis, target: int, judged: Judged, instead: str, quantity: Quantity
) -> tuple[Any, str, dict[str, Any]]:
    """The curves, the sentence and the table."""
    maps, measured = judged
    sentence = display.faithfulness_sentence(
        analysis, maps, measured, target=target, quantity=quantity
    )
    table = display.faithfulness_table(analysis, maps, measured, quantity=quantity)
    figure = display.curves_figure(analysis, measured, instead, quantity=quantity)
    return figure, plain_text(sentence), table

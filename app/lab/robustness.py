"""Robustness: answer, map and drops on the clean picture beside corrupted and attacked ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr
import numpy as np

from app.figures.theme import CONDITION_NAMES, colour_bar
from app.glossary import intro
from app.lab.bench import Bench, Computation, layer_index, numbers
from app.lab.display import robustness as display
from app.lab.question import Question
from app.markdown import plain_text
from app.tabs.shared import View, picture, pictured
from drople.analysis import Analysis
from drople.branches import ADAPTED, FROZEN
from drople.lab.branch import Branch
from drople.lab.robustness import VERSIONS, Version, run_kinds, run_versions
from drople.perturb.attack import STEPS
from drople.perturb.corruptions import CORRUPTIONS

INTRO = (
    "The clean picture beside corrupted and attacked ones: what becomes of the answer, the map "
    "and the tokens dropped after the layer looked at."
)
TERMS = (
    "Corruptions are ImageNet-C's at severities 1 to 5, with constants made for 224 pixels. The "
    f"attack is PGD of {STEPS} steps without a random start, within the given distance per "
    "channel; it leads the adapted branch (the frozen one without prompts) away from its own "
    "clean answer and is rounded to 8 bits. All maps of the strip share one scale. Drops compare "
    "the same random numbers u, so sets overlap by chance too: the value in brackets is what the "
    "p alone would give. One picture, one draw: no statement on robustness in general."
)
MAPS = (FROZEN, ADAPTED, "vanilla", "iwtd")


def build(bench: Bench) -> list[View]:
    """Lays the view out."""
    intro(INTRO)
    with gr.Row(elem_classes="lens-controls"):
        kind = gr.Dropdown(
            [(display.kind_name(one), one) for one in CORRUPTIONS], value=next(iter(CORRUPTIONS)),
            label="Corruption", elem_id="robust-kind", filterable=False, min_width=160,
        )  # fmt: skip
        run = gr.Button("Compare", elem_id="robust-run", min_width=90)
        stop = gr.Button("Stop", elem_id="robust-stop", min_width=90)
    with gr.Row(elem_classes="lens-controls"):
        shown = gr.Radio(
            [(CONDITION_NAMES[name], name) for name in MAPS], value=ADAPTED, label="Map of",
            elem_id="robust-map", min_width=240,
        )  # fmt: skip
    sheet = picture("The strip", "robust-sheet")
    bar = gr.HTML(elem_id="robust-bar")
    note = gr.Markdown(elem_id="robust-note", elem_classes="lens-note")
    table = numbers("robust-table", (100, *[120] * 7))
    gr.Markdown("All fifteen kinds at once", elem_classes="lens-caption")
    with gr.Row(elem_classes="lens-controls"):
        run_all = gr.Button("Compare all kinds", elem_id="kinds-run", min_width=160)
        stop_all = gr.Button("Stop", elem_id="kinds-stop", min_width=90)
    plot = gr.Plot(show_label=False, elem_id="kinds-plot")
    plot_bar = gr.HTML(elem_id="kinds-bar")
    note_all = gr.Markdown(elem_id="kinds-note", elem_classes="lens-note")
    table_all = numbers("kinds-table", (160, *[90] * 6))
    gr.Markdown(TERMS, elem_classes="lens-note")
    strip = Computation(
        compute, [View(draw, [kind, shown, bench.layer], [sheet, bar, note, table])], note,
        press="Press Compare: the first pictures come at once.",
        run=run, stop=stop, inputs=[kind], binding=[kind],
    ).on(bench)  # fmt: skip
    kinds = Computation(
        compute_kinds, [View(draw_kinds, [], [plot, plot_bar, note_all, table_all])], note_all,
        press="Press Compare all kinds: 75 pictures.", run=run_all, stop=stop_all,
    ).on(bench)  # fmt: skip
    return [*strip, *kinds]


def compute(
    question: Question, kind: str, *, progress: gr.Progress
) -> Iterator[tuple[Version, ...]]:
    """Version by version."""
    branch = Branch.of(question.loaded.model, question.texts)
    versions: tuple[Version, ...] = ()
    for version in run_versions(
        branch, question.mapped(), question.texts, target=question.target, kind=kind
    ):
        versions = (*versions, version)
        progress((len(versions), VERSIONS), desc=version.name)
        yield versions


def draw(
    analysis: Analysis,
    target: int,
    versions: tuple[Version, ...],
    kind: str,
    shown: str,
    layer: float,
) -> tuple[Any, str, str, dict[str, Any]]:
    """The strip, its scale, the sentence and the table."""
    condition = shown if shown in analysis.images else FROZEN
    index = layer_index(analysis, layer)
    sentence = display.strip_sentence(versions, kind, condition, target=target)
    table = display.strip_table(versions, condition, index, target=target)
    sheet = display.strip_sheet(versions, condition, index, target=target)
    return *pictured(sheet, sentence), plain_text(sentence), table


def compute_kinds(question: Question, *, progress: gr.Progress) -> Iterator[dict[str, np.ndarray]]:
    """Kind by kind: (6, 2) each, see `run_kinds`."""
    branch = Branch.of(question.loaded.model, question.texts)
    kinds: dict[str, np.ndarray] = {}
    for kind, answers in run_kinds(branch, question.analysis, question.target):
        kinds = {**kinds, kind: answers}
        progress((len(kinds), len(CORRUPTIONS)), desc=display.kind_name(kind))
        yield kinds


def draw_kinds(
    analysis: Analysis, target: int, kinds: dict[str, np.ndarray]
) -> tuple[Any, str, str, dict[str, Any]]:
    """The grid, its scale, the sentence and the table."""
    table = display.kinds_table(kinds)
    figure, bar = display.kinds_figure(kinds), colour_bar(display.PROBABILITY)
    return figure, bar, plain_text(display.kinds_sentence(kinds)), table

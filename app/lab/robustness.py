"""Robustness: answer, map and drops on the clean picture beside corrupted and attacked ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np

from app.calls import user_errors
from app.figures.robustness import PROBABILITY, kind_name, kinds_figure, strip_scale, strip_sheet
from app.figures.theme import CONDITION_NAMES, colour_bar
from app.glossary import intro
from app.lab.bench import Bench, Question, numbers, table_of
from app.markdown import plain_text
from app.studio import Studio
from app.tabs.shared import View, picture
from app.wording.robustness import (
    KIND_HEADERS,
    kinds_rows,
    kinds_sentence,
    strip_headers,
    strip_rows,
    strip_sentence,
)
from drople.analysis import Analysis, same_question
from drople.branches import ADAPTED, FROZEN
from drople.lab.branch import Branch
from drople.lab.robustness import VERSIONS, Version, run_kinds, run_versions
from drople.perturb.attack import STEPS
from drople.perturb.corruptions import CORRUPTIONS

INTRO = (
    "The clean picture beside corrupted and attacked ones: what becomes of the answer, the map "
    "and the dropped tokens."
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


@dataclass(frozen=True)
class Strip:
    """The versions there are so far, and for which question."""

    analysis: Analysis
    target: int
    kind: str
    versions: tuple[Version, ...]
    done: bool


@dataclass(frozen=True)
class Kinds:
    """All corruptions there are so far, and for which question."""

    analysis: Analysis
    target: int
    found: dict[str, np.ndarray]  # corruption -> (6, 2), see `run_kinds`
    done: bool


def build(bench: Bench) -> list[View]:
    """Lays the view out."""
    intro(INTRO)
    with gr.Row(elem_classes="lens-controls"):
        kind = gr.Dropdown(
            [(kind_name(one), one) for one in CORRUPTIONS], value=next(iter(CORRUPTIONS)),
            label="Corruption", elem_id="robust-kind", filterable=False, min_width=160,
        )  # fmt: skip
        run = gr.Button("Compare", elem_id="robust-run", min_width=90)
        stop = gr.Button("Stop", elem_id="robust-stop", min_width=90)
    with gr.Row(elem_classes="lens-controls"):
        shown = gr.Radio(
            [(CONDITION_NAMES[name], name) for name in MAPS], value=ADAPTED, label="Map of",
            elem_id="robust-map", min_width=240,
        )  # fmt: skip
        layer = gr.Slider(1, 12, 1, step=1, label="Drops after layer", elem_id="robust-layer",
                          min_width=160)  # fmt: skip
    sheet = picture("The strip", "robust-sheet")
    bar = gr.HTML(elem_id="robust-bar")
    said = gr.Markdown(elem_id="robust-note", elem_classes="lens-note")
    table = numbers("robust-table", ("picture",), (100, *[120] * 7))
    gr.Markdown("All fifteen kinds at once", elem_classes="lens-caption")
    with gr.Row(elem_classes="lens-controls"):
        run_all = gr.Button("Compare all kinds", elem_id="kinds-run", min_width=160)
        stop_all = gr.Button("Stop", elem_id="kinds-stop", min_width=90)
    plot = gr.Plot(show_label=False, elem_id="kinds-plot")
    plot_bar = gr.HTML(elem_id="kinds-bar")
    said_all = gr.Markdown(elem_id="kinds-note", elem_classes="lens-note")
    table_all = numbers("kinds-table", KIND_HEADERS, (160, *[90] * 6))
    gr.Markdown(TERMS, elem_classes="lens-note")
    held: gr.State = gr.State(None, time_to_live=3600)
    held_all: gr.State = gr.State(None, time_to_live=3600)
    outputs = [sheet, bar, said, table, layer]
    outputs_all = [plot, plot_bar, said_all, table_all]
    bench.streams((run, stop), compute, [kind, shown, layer], [held, *outputs], said)
    bench.streams((run_all, stop_all), compute_kinds, [], [held_all, *outputs_all], said_all)
    return [View(draw, [kind, shown, layer], outputs, [held]),
            View(draw_kinds, [], outputs_all, [held_all])]  # fmt: skip


def compute(
    studio: Studio,
    analysis: Analysis | None,
    target: str | None,
    backbone: str,
    prompts: str,
    kind: str,
    shown: str,
    layer: float,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  # how Gradio asks for one
) -> Iterator[tuple[Any, ...]]:
    """Version by version; another visitor may compute in between."""
    with user_errors():
        asked = Question.of(studio, analysis, target, backbone, prompts)
        analysis, index, texts = asked.analysis, asked.target, asked.texts()
        branch = Branch.of(asked.loaded.model, texts)
        steps = run_versions(branch, asked.mapped(), texts, target=index, kind=kind)
        versions: tuple[Version, ...] = ()
        while step := studio.in_turn(lambda: next(steps, None)):
            versions = (*versions, step)
            progress((len(versions), VERSIONS), desc=step.name)
            held = Strip(analysis, index, kind, versions, done=len(versions) == VERSIONS)
            yield held, *draw(analysis, index, held, kind, shown, layer)


def draw(
    analysis: Analysis, target: int, held: Strip | None, kind: str, shown: str, layer: float
) -> tuple[Any, str, str, dict[str, Any], Any]:
    """The strip, its scale, the sentence and the table of what was computed for this question."""
    reach = len(analysis.images[FROZEN].layers)
    slider = gr.Slider(maximum=reach)
    fits = held is not None and held.target == target and same_question(held.analysis, analysis)
    if held is None or not fits or held.kind != kind:
        return None, "", "Press Compare: the first pictures come at once.", table_of(("",)), slider
    condition = shown if shown in analysis.images else FROZEN
    index, found = min(int(layer), reach) - 1, held.versions
    sentence = strip_sentence(found, kind, condition, target)
    if held.done:
        sentence = f"Done. {sentence}"
    table = table_of(
        strip_headers(analysis, condition), strip_rows(found, condition, index, target)
    )
    sheet = gr.Image(strip_sheet(found, condition, index, target), alt_text=sentence)
    bar = colour_bar(strip_scale(found, condition, target))
    return sheet, bar, plain_text(sentence), table, slider


def compute_kinds(
    studio: Studio,
    analysis: Analysis | None,
    target: str | None,
    backbone: str,
    prompts: str,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  # how Gradio asks for one
) -> Iterator[tuple[Any, ...]]:
    """Kind by kind; another visitor may compute in between."""
    with user_errors():
        asked = Question.of(studio, analysis, target, backbone, prompts)
        analysis, index, texts = asked.analysis, asked.target, asked.texts()
        steps = run_kinds(Branch.of(asked.loaded.model, texts), analysis, index)
        found: dict[str, np.ndarray] = {}
        while step := studio.in_turn(lambda: next(steps, None)):
            found = {**found, step[0]: step[1]}
            progress((len(found), len(CORRUPTIONS)), desc=kind_name(step[0]))
            held = Kinds(analysis, index, found, done=len(found) == len(CORRUPTIONS))
            yield held, *draw_kinds(analysis, index, held)


def draw_kinds(
    analysis: Analysis, target: int, held: Kinds | None
) -> tuple[Any, str, str, dict[str, Any]]:
    """The grid, its scale, the sentence and the table of what was computed for this question."""
    fits = held is not None and held.target == target and same_question(held.analysis, analysis)
    if held is None or not fits:
        return None, "", "Press Compare all kinds: 75 pictures.", table_of(KIND_HEADERS)
    sentence = kinds_sentence(held.found)
    if held.done:
        sentence = f"Done. {sentence}"
    table = table_of(KIND_HEADERS, kinds_rows(held.found))
    return kinds_figure(held.found), colour_bar(PROBABILITY), plain_text(sentence), table

"""Rate curve: every dropout from rate 0 to 0.9, streamed draw by draw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.calls import user_errors
from app.figures.rate_curve import QUANTITIES, rates_figure
from app.glossary import intro
from app.lab.bench import NO_DROPOUT_HERE, Bench, Question, numbers, table_of
from app.markdown import plain_text
from app.studio import Studio
from app.tabs.shared import View
from app.wording.rate_curve import (
    AREA_HEADERS,
    POINT_HEADERS,
    area_rows,
    point_rows,
    rates_sentence,
)
from drople.analysis import Analysis, same_question
from drople.lab.rate_curve import RATES, RateCurves, run_rates

INTRO = (
    "Drop more and more tokens, with every dropout at the same rate: what is left of the "
    "prediction and of the feature."
)
TERMS = (
    "A dropout reaches a rate by adding one constant to all its p, layer by layer, and clipping "
    "to [0, 1]: so the mean p over the tokens that may be dropped is the rate, while near 0 and 1 "
    "the p lose some of their differences. “Truly dropped” is what the draws made of it. In one "
    "draw all dropouts and rates share each token's random number. Dropout acts on the image "
    "branch alone here. Bands and brackets: 95 % over the draws, Wilson's for flips, Student's "
    "for means and areas, cut at what is possible. Area: mean over the rates, by trapezes."
)


@dataclass(frozen=True)
class Rates:
    """What was drawn so far, and for which question."""

    analysis: Analysis
    target: int
    draws: int  # complete ones
    curves: RateCurves
    done: bool


def build(bench: Bench) -> list[View]:
    """Lays the view out."""
    intro(INTRO)
    with gr.Row(elem_classes="lens-controls"):
        draws = gr.Slider(2, 64, 6, step=1, label="Draws", elem_id="rates-draws", min_width=200)
        run = gr.Button("Draw", elem_id="rates-run", min_width=90)
        stop = gr.Button("Stop", elem_id="rates-stop", min_width=90)
    quantity = gr.Radio(
        [(name, key) for key, name in QUANTITIES.items()], value="probability", label="Show",
        elem_id="rates-quantity",
    )  # fmt: skip
    plot = gr.Plot(show_label=False, elem_id="rates-plot")
    said = gr.Markdown(elem_id="rates-note", elem_classes="lens-note")
    areas = numbers("rates-areas", AREA_HEADERS, (140, 190, 190, 190, 190))
    with gr.Accordion("All points as numbers", open=False):
        points = numbers("rates-points", POINT_HEADERS, (140, 80, 90, 70, 190, 190, 190, 190))
    gr.Markdown(TERMS, elem_classes="lens-note")
    held: gr.State = gr.State(None, time_to_live=3600)
    outputs = [plot, said, areas, points]
    bench.streams((run, stop), compute, [draws, quantity], [held, *outputs], said)
    return [View(draw, [quantity], outputs, [held])]


def compute(
    studio: Studio,
    analysis: Analysis | None,
    target: str | None,
    backbone: str,
    prompts: str,
    draws: float,
    quantity: str,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  # how Gradio asks for one
) -> Iterator[tuple[Any, ...]]:
    """Rate by rate, draw by draw; another visitor may compute in between."""
    with user_errors():
        asked = Question.of(studio, analysis, target, backbone, prompts, adapted=True)
        analysis, index = asked.analysis, asked.target
        steps = run_rates(
            asked.prompted, analysis.pixels, asked.texts(), settings=analysis.settings,
            target=index, draws=int(draws),
        )  # fmt: skip
        count, done = int(draws) * (len(RATES) - 1), -1
        progress((0, count), desc="the first draw")
        while step := studio.in_turn(lambda: next(steps, None)):
            done += 1
            progress((done, count), desc=f"{step[0]} of {int(draws)} draws complete")
            so_far = Rates(analysis, index, *step, done=done == count)
            yield so_far, *draw(analysis, index, so_far, quantity)


def draw(
    analysis: Analysis, target: int, held: Rates | None, quantity: str
) -> tuple[Any, str, dict[str, Any], dict[str, Any]]:
    """The curves, the sentence and both tables of what was drawn for this very question."""
    tables = table_of(AREA_HEADERS), table_of(POINT_HEADERS)
    if not analysis.adapted:
        return None, NO_DROPOUT_HERE, *tables
    fits = held is not None and held.target == target and same_question(held.analysis, analysis)
    if held is None or not fits:
        return None, "Press Draw: the first points come at once.", *tables
    curves = held.curves
    seed = analysis.settings.seed
    sentence = rates_sentence(curves, analysis.classes[target], held.draws, seed)
    if held.done:
        sentence = f"Done. {sentence}"
    tables = (
        table_of(AREA_HEADERS, area_rows(curves)),
        table_of(POINT_HEADERS, point_rows(curves)),
    )
    return rates_figure(curves, quantity), plain_text(sentence), *tables

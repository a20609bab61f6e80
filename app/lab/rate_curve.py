"""Rate curve: every dropout from rate 0 to 0.9, streamed draw by draw."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from app.glossary import intro
from app.lab.bench import Bench, Computation, numbers
from app.lab.display import rate_curve as display
from app.lab.question import Question
from app.markdown import plain_text
from app.tabs.shared import View
from drople.analysis import Analysis
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
    "branch alone here. Bands and brackets: 95 % over the draws, Wilson's for flips, the "
    "t-interval for means and areas, cut at what is possible; the difference is paired by draw, "
    f"its band comes with {display.BAND_FROM} draws. Area: mean over the rates (trapezoidal rule)."
)
PRESS = "Press Draw: the first points come at once."


def build(bench: Bench) -> list[View]:
    """Lays the view out."""
    intro(INTRO)
    with gr.Row(elem_classes="lens-controls"):
        draws = gr.Slider(2, 64, 8, step=1, label="Draws", elem_id="rates-draws", min_width=200)
        run = gr.Button("Draw", elem_id="rates-run", min_width=90)
        stop = gr.Button("Stop", elem_id="rates-stop", min_width=90)
    quantity = gr.Radio(
        [(name, key) for key, name in display.QUANTITIES.items()], value="probability",
        label="Show", elem_id="rates-quantity",
    )  # fmt: skip
    every = gr.Checkbox(
        False, label="All dropouts, not the difference IWTD − vanilla", elem_id="rates-every"
    )
    plot = gr.Plot(show_label=False, elem_id="rates-plot")
    note = gr.Markdown(elem_id="rates-note", elem_classes="lens-note")
    areas = numbers("rates-areas", (140, 190, 190, 190, 190))
    with gr.Accordion("All points as numbers", open=False):
        points = numbers("rates-points", (140, 80, 90, 70, *[190] * 4))
    gr.Markdown(TERMS, elem_classes="lens-note")
    return Computation(
        compute, [View(draw, [quantity, every], [plot, note, areas, points])], note,
        press=PRESS, run=run, stop=stop, inputs=[draws], needs_prompts=True,
    ).on(bench)  # fmt: skip


def compute(
    question: Question, draws: float, *, progress: gr.Progress
) -> Iterator[tuple[int, RateCurves]]:
    """The complete draws and the curves so far, rate by rate and draw by draw."""
    count = int(draws) * (len(RATES) - 1)
    progress((0, count), desc="the first draw")
    steps = run_rates(
        question.prompted, question.analysis.pixels, question.texts,
        settings=question.analysis.settings, target=question.target, draws=int(draws),
    )  # fmt: skip
    for done, (complete, curves) in enumerate(steps):
        progress((done, count), desc=f"{complete} of {int(draws)} draws complete")
        yield complete, curves


def draw(
    analysis: Analysis, target: int, drawn: tuple[int, RateCurves], quantity: str, every: bool
) -> tuple[Any, str, dict[str, Any], dict[str, Any]]:
    """The curves, the sentence and both tables."""
    complete, curves = drawn
    seed = analysis.settings.seed
    sentence = display.rates_sentence(curves, analysis.classes[target], complete, first_seed=seed)
    areas, points = display.areas_table(curves), display.points_table(curves)
    figure = (display.rates_figure if every else display.difference_figure)(curves, quantity)
    return figure, plain_text(sentence), areas, points

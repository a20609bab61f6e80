"""Many draws: what one draw cannot say, streamed until the flip rate is known well enough."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from app.glossary import intro
from app.lab.bench import Bench, Computation, numbers
from app.lab.display import uncertainty as display
from app.lab.question import Question
from app.markdown import plain_text
from app.tabs.shared import View, picture, pictured
from drople.analysis import Analysis
from drople.lab.uncertainty import MINIMUM, DrawStatistics, run_draws

INTRO = (
    "Draw again and again, with seeds counting up from yours: how often the answer flips, and how "
    "much the maps move."
)
RULE = (
    f"From {MINIMUM} draws on it stops by itself when every flip rate's interval is narrower than "
    "the width you choose."
)
PRESS = "Press Draw: the first draw comes at once."


def build(bench: Bench) -> list[View]:
    """Lays the view out."""
    intro(f"{INTRO} {RULE}")
    with gr.Row(elem_classes="lens-controls"):
        most = gr.Slider(
            MINIMUM, 128, 32, step=8, label="Most draws", elem_id="draws-most",
            min_width=220,
        )  # fmt: skip
        width = gr.Slider(
            0.05, 0.5, 0.2, step=0.05, label="Interval width to stop at", elem_id="draws-width",
            min_width=220,
        )  # fmt: skip
        run = gr.Button("Draw", elem_id="draws-run", min_width=90)
        stop = gr.Button("Stop", elem_id="draws-stop", min_width=90)
    what = gr.Radio(
        [display.CAM, display.KEPT], value=display.CAM, label="Map: mean above, sd below",
        elem_id="draws-what",
    )  # fmt: skip
    with gr.Row(), gr.Column(elem_classes="lens-two"):
        sheet = picture("Mean and sd over the draws", "draws-mean")
        bars = gr.HTML(elem_id="draws-bars")
    note = gr.Markdown(elem_id="draws-note", elem_classes="lens-note")
    table = numbers("draws-table", (150, 80, 110, 120, 70, 100, 80, 120))
    return Computation(
        compute, [View(draw, [what], [sheet, bars, note, table])], note,
        press=PRESS, run=run, stop=stop, inputs=[most, width], needs_prompts=True,
    ).on(bench)  # fmt: skip


def compute(
    question: Question, most: float, width: float, *, progress: gr.Progress
) -> Iterator[dict[str, DrawStatistics]]:
    """The running statistics of each dropout, batch by batch."""
    analysis = question.analysis
    progress((0, int(most)), desc="first draw")
    for statistics in run_draws(
        question.prompted, analysis.pixels, question.texts, settings=analysis.settings,
        target=question.target, plain=analysis.answer,
        most=int(most), width=width,
    ):  # fmt: skip
        count = next(iter(statistics.values())).count
        progress((count, int(most)), desc=f"{count} of at most {int(most)} draws")
        yield statistics


def draw(
    analysis: Analysis, target: int, statistics: dict[str, DrawStatistics], what: str
) -> tuple[Any, str, str, dict[str, Any]]:
    """The maps, their scales, the sentence and the table."""
    sentence = display.draws_sentence(
        statistics, analysis.classes, target, first_seed=analysis.settings.seed
    )
    table = display.draws_table(statistics)
    shown = pictured(display.draws_sheet(analysis, statistics, what), sentence)
    return *shown, plain_text(sentence), table

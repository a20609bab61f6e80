"""Many draws: what one draw cannot say, streamed until the flip rate is known well enough."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.calls import user_errors
from app.figures.draws import CAM, KEPT, draw_scales, draws_sheet
from app.figures.theme import colour_bar
from app.glossary import intro
from app.lab.bench import NO_DROPOUT_HERE, Bench, Question, numbers, table_of
from app.markdown import plain_text
from app.studio import Studio
from app.tabs.shared import View, picture
from app.wording.draws import HEADERS, draws_rows, draws_sentence
from drople.analysis import Analysis, same_question
from drople.branches import ADAPTED
from drople.lab.uncertainty import MINIMUM, DrawStatistics, run_draws

INTRO = (
    "Draw again and again, with seeds counting up from yours: how often the answer flips, and how "
    "much the maps move."
)
RULE = (
    f"From {MINIMUM} draws on it stops by itself when every flip rate's interval is narrower than "
    "the width you choose."
)


@dataclass(frozen=True)
class Draws:
    """What was drawn so far, and for which question."""

    analysis: Analysis
    target: int
    found: dict[str, DrawStatistics]
    done: bool


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
    what = gr.Radio([CAM, KEPT], value=CAM, label="Map: mean above, sd below", elem_id="draws-what")
    with gr.Row(), gr.Column(elem_classes="lens-two"):
        sheet = picture("Mean and sd over the draws", "draws-mean")
        bars = gr.HTML(elem_id="draws-bars")
    said = gr.Markdown(elem_id="draws-note", elem_classes="lens-note")
    table = numbers("draws-table", HEADERS, (150, 80, 110, 120, 70, 100, 80, 120))
    held: gr.State = gr.State(None, time_to_live=3600)
    outputs = [sheet, bars, said, table]
    bench.streams((run, stop), compute, [what, most, width], [held, *outputs], said)
    return [View(draw, [what], outputs, [held])]


def compute(
    studio: Studio,
    analysis: Analysis | None,
    target: str | None,
    backbone: str,
    prompts: str,
    what: str,
    most: float,
    width: float,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  # how Gradio asks for one
) -> Iterator[tuple[Any, ...]]:
    """The running statistics, batch by batch; another visitor may compute in between."""
    with user_errors():
        asked = Question.of(studio, analysis, target, backbone, prompts, adapted=True)
        analysis, index = asked.analysis, asked.target
        plain = int(analysis.predictions[ADAPTED].cosines.argmax())
        draws = run_draws(
            asked.prompted, analysis.pixels, asked.texts(), settings=analysis.settings,
            target=index, plain=plain, most=int(most), width=width,
        )  # fmt: skip
        found: dict[str, DrawStatistics] = {}
        progress((0, int(most)), desc="first draw")
        while batch := studio.in_turn(lambda: next(draws, None)):
            found = batch
            count = next(iter(found.values())).count
            progress((count, int(most)), desc=f"{count} of at most {int(most)} draws")
            so_far = Draws(analysis, index, found, done=False)
            yield so_far, *draw(analysis, index, so_far, what)
        whole = Draws(analysis, index, found, done=True)
        yield whole, *draw(analysis, index, whole, what)


def draw(
    analysis: Analysis, target: int, held: Draws | None, what: str
) -> tuple[Any, str, str, dict[str, Any]]:
    """The maps, their scales, the sentence and the table of what was drawn for this question."""
    if not analysis.adapted:
        return None, "", NO_DROPOUT_HERE, table_of(HEADERS)
    fits = held is not None and held.target == target and same_question(held.analysis, analysis)
    if held is None or not fits:
        return None, "", "Press Draw: the first draw comes at once.", table_of(HEADERS)
    found = held.found
    sentence = draws_sentence(found, analysis.classes, target, analysis.settings.seed)
    if held.done:
        sentence = f"Done. {sentence}"
    bars = "".join(colour_bar(scale) for scale in draw_scales(analysis, found, what))
    table = table_of(HEADERS, draws_rows(found))
    shown = gr.Image(draws_sheet(analysis, found, what), alt_text=sentence)
    return shown, bars, plain_text(sentence), table

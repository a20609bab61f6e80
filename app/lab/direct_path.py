"""Explained: what makes the adapted logit differ from the frozen one, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from app.calls import user_errors
from app.figures.direct_path import layers_figure, map_panel, map_scale
from app.figures.theme import colour_bar
from app.glossary import intro
from app.lab.bench import NO_DROPOUT_HERE, Bench, Question, numbers, table_of
from app.markdown import plain_text
from app.studio import Studio
from app.tabs.shared import View, picture
from app.wording.direct_path import HEADERS, parts_rows, parts_sentence
from drople.analysis import Analysis, same_question
from drople.branches import ADAPTED
from drople.lab.direct_path import Explained, explain_difference, run_branches

INTRO = (
    "What makes the adapted branch give the class looked at another logit than the frozen one, "
    "without dropout, split over layers and patches. Direct path only: what a layer writes into "
    "the class token; what it writes into other tokens counts in the layer that fetches it."
)
LOGIT, LEAD = "its logit", "its lead over the runner-up"
PRESS = "Press Explain: it takes about a second with mini."


@dataclass(frozen=True)
class Held:
    """What was split, and for which question."""

    analysis: Analysis
    target: int
    rival: int | None  # index of the runner-up; None with a single class
    parts: dict[str, Explained]  # LOGIT, and LEAD where there is a runner-up


def build(bench: Bench) -> list[View]:
    """Lays the view out."""
    intro(INTRO)
    with gr.Row(elem_classes="lens-controls"):
        what = gr.Radio([LOGIT, LEAD], value=LOGIT, label="Split", elem_id="direct-what")
        layer = gr.Slider(
            0, 12, 0, step=1, label="Map of layer (0: all)", elem_id="direct-layer",
            min_width=200,
        )  # fmt: skip
        run = gr.Button("Explain", elem_id="direct-run", min_width=90)
    with gr.Row():
        with gr.Column(scale=3, min_width=280):
            plot = gr.Plot(show_label=False, elem_id="direct-plot")
        with gr.Column(scale=2, min_width=240):
            photo = picture("What attention fetches from each patch", "direct-map")
            bar = gr.HTML(elem_id="direct-bar")
    said = gr.Markdown(elem_id="direct-note", elem_classes="lens-note")
    table = numbers("direct-table", HEADERS, (220, 100, 100, 100, 130, 100, 110))
    held: gr.State = gr.State(None, time_to_live=3600)
    view = View(draw, [what, layer], [plot, photo, bar, said, table, layer], [held])
    run.click(
        bench.call(compute), [*bench.asked(), what, layer], [held, *view.outputs],
        api_visibility="private", show_progress_on=said, **bench.model,
    )  # fmt: skip
    return [view]


def compute(
    studio: Studio,
    analysis: Analysis | None,
    target: str | None,
    backbone: str,
    prompts: str,
    what: str,
    layer: float,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  # how Gradio asks for one
) -> tuple[Any, ...]:
    """Both splits, of one run of each branch."""
    with user_errors():
        asked = Question.of(studio, analysis, target, backbone, prompts, adapted=True)
        analysis, index, model = asked.analysis, asked.target, asked.prompted
        rival = runner_up(analysis, index)
        progress((0, 2), desc="1 of 2: both branches")
        records = studio.in_turn(partial(run_branches, model, analysis.pixels))
        progress((1, 2), desc="2 of 2: their parts")
        explain = partial(explain_difference, model, records, asked.texts(), target=index)
        parts = {LOGIT: studio.in_turn(explain)}
        if rival is not None:
            parts[LEAD] = studio.in_turn(partial(explain, against=rival))
        held = Held(analysis, index, rival, parts)
        return held, *draw(analysis, index, held, what, layer)


def runner_up(analysis: Analysis, target: int) -> int | None:
    """The likeliest other class of the adapted branch; None without one."""
    order = analysis.predictions[ADAPTED].cosines.argsort()[::-1]
    return next((int(i) for i in order if i != target), None)


def draw(
    analysis: Analysis, target: int, held: Held | None, what: str, layer: float
) -> tuple[Any, ...]:
    """The bars, the map with its scale, the sentence and the table; the slider's reach."""
    reach = len(analysis.images["frozen"].layers)
    slider = gr.Slider(maximum=reach)
    if not analysis.adapted:
        return None, None, "", NO_DROPOUT_HERE, table_of(HEADERS), slider
    fits = held is not None and held.target == target and same_question(held.analysis, analysis)
    if held is None or not fits:
        return None, None, "", PRESS, table_of(HEADERS), slider
    shown = what if what in held.parts else LOGIT
    one, name = held.parts[shown], analysis.classes[target]
    title = f"The logit of {name}"
    if shown == LEAD and held.rival is not None:
        title = f"The lead of {name} over {analysis.classes[held.rival]}"
    sentence = parts_sentence(one, title)
    at = None if layer < 1 else min(int(layer), reach) - 1
    photo = gr.Image(map_panel(analysis, one.image, at), alt_text=sentence)
    bar = colour_bar(map_scale(one.image, at))
    table = table_of(HEADERS, parts_rows(one))
    return layers_figure(one), photo, bar, plain_text(sentence), table, slider

"""Attention: what a token looks at, head by head, layer by layer, and rolled out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from app.calls import user_errors
from app.figures.attention_maps import heads_scale, heads_strip, rollout_scale, rollout_sheet
from app.figures.theme import colour_bar
from app.glossary import intro
from app.lab.bench import Bench, Question, numbers, table_of
from app.markdown import plain_text
from app.studio import Studio
from app.tabs.shared import QUIET, View, picture
from app.wording.attention_maps import HEADERS, attention_sentence, heads_rows
from drople.analysis import Analysis, same_question
from drople.branches import ADAPTED, FROZEN
from drople.lab.attention_maps import AttentionLayer, attention_layers
from drople.tokens.layout import patch_row

INTRO = (
    "What one token attends to, without dropout: each head of a layer, their mean, and the rollout "
    "up to that layer (Abnar & Zuidema 2020). Press Play to walk through the layers."
)
CLS, PATCH, PROMPT = "class token", "patch", "learned prompt"
PRESS = "Press Read attention: it takes about a second with mini."
SECONDS = 1.2  # a layer of the animation is shown


@dataclass(frozen=True)
class Read:
    """The attention of both branches, and of which analysis."""

    analysis: Analysis
    layers: dict[str, list[AttentionLayer]]


def build(bench: Bench) -> list[View]:
    """Lays the view out."""
    intro(INTRO)
    with gr.Row(elem_classes="lens-controls"):
        branch = gr.Radio(
            [("Adapted", ADAPTED), ("Frozen", FROZEN)], value=ADAPTED, label="Branch",
            elem_id="attention-branch", min_width=140,
        )  # fmt: skip
        kind = gr.Radio([CLS, PATCH, PROMPT], value=CLS, label="Token", elem_id="attention-kind")
        row = gr.Slider(1, 14, 7, step=1, label="Row", min_width=120)
        column = gr.Slider(1, 14, 7, step=1, label="Column, prompt", min_width=120)
    with gr.Row(elem_classes="lens-controls"):
        layer = gr.Slider(1, 12, 1, step=1, label="Layer", elem_id="attention-layer", min_width=160)
        run = gr.Button("Read attention", elem_id="attention-run", min_width=120)
        play = gr.Button("Play", elem_id="attention-play", min_width=90)
        stop = gr.Button("Stop", elem_id="attention-stop", min_width=90)
    with gr.Row():
        with gr.Column(min_width=260):
            gr.Markdown("The heads of this layer", elem_classes="lens-caption")
            heads = picture("Heads", "attention-heads")
            heads_bar = gr.HTML(elem_id="attention-heads-bar")
        with gr.Column(min_width=260):
            gr.Markdown("Mean of the heads, and rollout", elem_classes="lens-caption")
            rollout = picture("Mean and rollout", "attention-rollout")
            rollout_bar = gr.HTML(elem_id="attention-rollout-bar")
    said = gr.Markdown(elem_id="attention-note", elem_classes="lens-note")
    table = numbers("attention-table", HEADERS, (60, 60, 90, 100, 100, 170, 90))
    held: gr.State = gr.State(None, time_to_live=3600)
    controls = [branch, kind, row, column, layer]
    large = View(draw, controls, [heads, heads_bar, rollout, rollout_bar, said, layer], [held])
    rows = View(draw_table, controls[:-1], [table, row, column], [held])
    done = run.click(
        bench.call(compute), bench.asked(), held,
        api_visibility="private", show_progress_on=said, **bench.model,
    )  # fmt: skip
    for view in (large, rows):
        view.draw_on(done.success, bench.state, bench.target)
    clock = gr.Timer(SECONDS, active=False)
    play.click(lambda: (1, gr.Timer(active=True)), None, [layer, clock], **QUIET)
    stop.click(lambda: gr.Timer(active=False), None, clock, **QUIET)
    clock.tick(next_layer, [layer, held], [layer, clock], **QUIET)
    return [large, rows]


def next_layer(layer: float, held: Read | None) -> tuple[Any, Any]:
    """The next layer; after the last one the clock stops."""
    reach = len(held.layers[FROZEN]) if held else 0
    if layer >= reach:
        return gr.skip(), gr.Timer(active=False)
    return int(layer) + 1, gr.skip()


def compute(
    studio: Studio,
    analysis: Analysis | None,
    target: str | None,
    backbone: str,
    prompts: str,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  # how Gradio asks for one
) -> Read:
    """Runs each branch once."""
    with user_errors():
        asked = Question.of(studio, analysis, target, backbone, prompts)
        progress(0.2, desc="the attention of both branches")
        seen = asked.analysis.pixels
        read = studio.in_turn(partial(attention_layers, asked.loaded.model, seen))
        return Read(asked.analysis, read)


def _layers(analysis: Analysis, held: Read | None, branch: str) -> Sequence[AttentionLayer]:
    """The layers of a branch, or of the frozen one; none where they are of another question."""
    if held is None or not same_question(held.analysis, analysis):
        return ()
    return held.layers.get(branch, held.layers[FROZEN])


def token_of(layer: AttentionLayer, kind: str, row: float, column: float) -> tuple[int, str]:
    """The row of the chosen token in the sequence, and what to call it."""
    rows, columns = layer.grid
    start, stop = layer.prompts
    if kind == PROMPT and stop > start:
        index = min(int(column), stop - start)
        return start + index - 1, f"prompt P{index}"
    if kind == PATCH:
        at = min(int(row), rows) - 1, min(int(column), columns) - 1
        place = f"the patch at row {at[0] + 1}, column {at[1] + 1}"
        return patch_row(layer.grid, *at), place
    return 0, "the class token"


def draw(
    analysis: Analysis,
    target: int,
    held: Read | None,
    branch: str,
    kind: str,
    row: float,
    column: float,
    layer: float,
) -> tuple[Any, ...]:
    """The heads, the mean and the rollout with their scales, the sentence, the slider's reach."""
    reach = len(analysis.images[FROZEN].layers)
    slider = gr.Slider(maximum=reach)
    layers = list(_layers(analysis, held, branch))
    if not layers:
        return None, "", None, "", PRESS, slider
    index = min(int(layer), reach) - 1
    token, name = token_of(layers[index], kind, row, column)
    shown = branch if held and branch in held.layers else FROZEN
    sentence = attention_sentence(layers, index, token, name)
    return (
        gr.Image(heads_strip(analysis, layers, index, token), alt_text=sentence),
        colour_bar(heads_scale(layers, token)),
        gr.Image(rollout_sheet(analysis, shown, layers, index, token), alt_text=sentence),
        colour_bar(rollout_scale(layers, index, token)),
        plain_text(sentence),
        slider,
    )


def draw_table(
    analysis: Analysis,
    target: int,
    held: Read | None,
    branch: str,
    kind: str,
    row: float,
    column: float,
) -> tuple[dict[str, Any], Any, Any]:
    """Every head's shares, and the sliders' reach."""
    rows, columns = analysis.images[FROZEN].layers[0].grid or (1, 1)
    sliders = gr.Slider(maximum=rows), gr.Slider(maximum=columns)
    layers = list(_layers(analysis, held, branch))
    if not layers:
        return table_of(HEADERS), *sliders
    token = token_of(layers[0], kind, row, column)[0]
    return table_of(HEADERS, heads_rows(layers, token)), *sliders

"""Attention: what a token looks at, head by head, layer by layer, and rolled out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from app.glossary import intro
from app.lab.bench import Bench, Computation, layer_index, numbers
from app.lab.display import attention_maps as display
from app.lab.question import Question, Result
from app.markdown import plain_text
from app.tabs.shared import QUIET, View, picture, pictured
from drople.analysis import Analysis
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
Layers = dict[str, list[AttentionLayer]]  # of each branch


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
    note = gr.Markdown(elem_id="attention-note", elem_classes="lens-note")
    table = numbers("attention-table", (60, 60, 90, 100, 100, 170, 90))
    controls = [branch, kind, row, column]
    views = Computation(
        compute,
        [
            View(draw, [*controls, bench.layer], [heads, heads_bar, rollout, rollout_bar, note]),
            View(draw_table, controls, [table]),
        ],
        note, press=PRESS, run=run, per_class=False,
    ).on(bench)  # fmt: skip
    clock = gr.Timer(SECONDS, active=False)
    play.click(lambda: (1, gr.Timer(active=True)), None, [bench.layer, clock], **QUIET)
    stop.click(lambda: gr.Timer(active=False), None, clock, **QUIET)
    clock.tick(next_layer, [bench.layer, *views[0].held], [bench.layer, clock], **QUIET)
    return [View(draw_reach, [], [row, column]), *views]


def next_layer(layer: float, result: Result[Layers] | None) -> tuple[Any, Any]:
    """The next layer; after the last one the clock stops."""
    if result is None or layer >= len(result.value[FROZEN]):
        return gr.skip(), gr.Timer(active=False)
    return int(layer) + 1, gr.skip()


def compute(question: Question, *, progress: gr.Progress) -> Iterator[Layers]:
    """Runs each branch once."""
    progress(0.2, desc="the attention of both branches")
    yield attention_layers(question.loaded.model, question.analysis.pixels)


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
    attention: Layers,
    branch: str,
    kind: str,
    row: float,
    column: float,
    layer: float,
) -> tuple[Any, ...]:
    """The heads, the mean and the rollout with their scales, and the sentence."""
    shown = branch if branch in attention else FROZEN
    layers, index = attention[shown], layer_index(analysis, layer)
    token, name = token_of(layers[index], kind, row, column)
    sentence = display.attention_sentence(layers, index, token, name=name)
    heads = display.heads_strip(analysis, layers, index, token=token)
    rollout = display.rollout_sheet(analysis, shown, layers, layer=index, token=token)
    return *pictured(heads, sentence), *pictured(rollout, sentence), plain_text(sentence)


def draw_table(
    analysis: Analysis,
    target: int,
    attention: Layers,
    branch: str,
    kind: str,
    row: float,
    column: float,
) -> dict[str, Any]:
    """Every head's shares."""
    layers = attention.get(branch, attention[FROZEN])
    token = token_of(layers[0], kind, row, column)[0]
    return display.heads_table(layers, token)


def draw_reach(analysis: Analysis, target: int) -> tuple[gr.Slider, gr.Slider]:
    """The sliders' reach."""
    rows, columns = analysis.images[FROZEN].layers[0].grid or (1, 1)
    return gr.Slider(maximum=rows), gr.Slider(maximum=columns)

"""Token importance: every layer, every signal, both branches."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app.figures.importance import (
    SIGNAL_NAMES,
    layer_figure,
    layers_strip,
    prompt_cells,
    scale_of,
    signals_of,
    text_table,
)
from app.figures.patches import tile_at
from app.figures.theme import CONDITION_NAMES, colour_bar, number
from app.glossary import intro
from app.markdown import plain_text
from app.tabs.shared import QUIET, View, picture
from app.wording.sentences import importance_sentence
from drople.analysis import Analysis

INTRO = (
    "How much each token matters to IWTD, without any dropout. These are attention scores, not "
    "an explanation of the answer: they do not depend on the class looked at, and s_cross does "
    "not depend on the class list."
)


def build(state: gr.State) -> list[View]:
    """Lays the tab out."""
    intro(INTRO)
    with gr.Row(elem_classes="lens-controls"):
        signal = gr.Dropdown(
            [(name, key) for key, name in SIGNAL_NAMES.items()], value="blend", label="Signal",
            elem_id="signal", min_width=180, filterable=False,
            info="s_self: strongest attention to another token. s_cls: attention from the class "
            "token. s_cross: strongest claim of a learned bridge token.",
        )  # fmt: skip
        branch = gr.Radio(
            [("Adapted", "adapted"), ("Frozen", "frozen")], value="adapted", label="Branch",
            elem_id="branch", min_width=140,
        )  # fmt: skip
        layer = gr.Slider(1, 12, 6, step=1, label="Layer", elem_id="layer", min_width=160)
    with gr.Row():
        with gr.Column(scale=5, min_width=280):
            caption = gr.Markdown("One layer", elem_classes="lens-caption")
            plot = gr.Plot(show_label=False, elem_id="importance-plot")
        with gr.Column(scale=5, min_width=280):
            layers = gr.Markdown("All layers", elem_classes="lens-caption")
            strip = picture("All layers", "strip")
    bar = gr.HTML(elem_id="importance-bar")
    prompts = gr.HTML(elem_id="importance-prompts")
    note = gr.Markdown(elem_id="importance-note", elem_classes="lens-note")
    with gr.Row(elem_classes="lens-controls"):
        opacity = gr.Slider(0, 1, 0.75, step=0.05, label="Opacity of the map", min_width=160)
        locked = gr.Checkbox(
            True, label="One colour scale for all layers",
            info="Off: each layer has its own, and colours do not compare.", min_width=200,
        )  # fmt: skip
    with gr.Accordion("The text branch: the words of the class looked at", open=True):
        words = gr.HTML(elem_id="importance-words")
    strip.select(chosen_layer, [state, layer], layer, **{**QUIET, "trigger_mode": "once"})
    controls = [signal, branch, layer, opacity, locked]
    return [
        View(draw_large, controls, [caption, plot, bar, prompts, note]),
        View(draw_strip, [signal, branch, layer, locked], [strip, layers, signal, layer]),
        View(draw_words, [signal, branch], [words]),
    ]


def chosen_layer(analysis: Analysis | None, layer: float, event: gr.SelectData) -> Any:
    """The layer whose tile was clicked."""
    if analysis is None:
        return gr.skip()
    count = len(analysis.images["frozen"].layers)
    tile = tile_at(event.index[0], event.index[1], count)
    return gr.skip() if tile is None else tile + 1


def _asked(analysis: Analysis, signal: str, branch: str, layer: float) -> tuple[str, str, int]:
    """The controls' values, brought to what this analysis has."""
    condition = branch if branch in analysis.images else "frozen"
    trace = analysis.images[condition]
    known = signals_of(trace)
    return condition, signal if signal in known else "blend", min(int(layer), len(trace.layers)) - 1


def draw_large(
    analysis: Analysis,
    target: int,
    signal: str,
    branch: str,
    layer: float,
    opacity: float,
    locked: bool,
) -> tuple[str, Any, str, str, str]:
    """The large map with its colour bar, prompt tokens and sentence."""
    condition, signal, index = _asked(analysis, signal, branch, layer)
    figure = layer_figure(analysis, condition, index, signal, opacity=opacity, locked=locked)
    scale = scale_of(analysis, analysis.images[condition], signal, None if locked else index)
    sentence = importance_sentence(analysis, condition, index, signal)
    name = f"{CONDITION_NAMES[condition]} branch. "
    return (
        f"Layer {index + 1}; hover for the numbers",
        figure,
        colour_bar(scale),
        prompt_cells(analysis, condition, index, signal, scale),
        plain_text(name + sentence),
    )


def draw_strip(
    analysis: Analysis, target: int, signal: str, branch: str, layer: float, locked: bool
) -> tuple[Any, ...]:
    """All layers, their scale in words, and the controls with what this analysis offers."""
    condition, signal, index = _asked(analysis, signal, branch, layer)
    trace = analysis.images[condition]
    known = signals_of(trace)
    scale = scale_of(analysis, trace, signal, None)
    ends = f"from {number(scale.low)} to {number(scale.high)}"
    if not locked and signal != "p":
        ends = "each on a scale of its own"
    strip = layers_strip(analysis, condition, signal, chosen=index, locked=locked)
    sentence = importance_sentence(analysis, condition, index, signal)
    return (
        gr.Image(strip, alt_text=f"{CONDITION_NAMES[condition]}, all layers. {sentence}"),
        plain_text(f"All layers, {ends}; click one to enlarge it"),
        gr.Dropdown([(SIGNAL_NAMES[key], key) for key in known], value=signal),
        gr.Slider(maximum=len(trace.layers)),
    )


def draw_words(analysis: Analysis, target: int, signal: str, branch: str) -> str:
    """The class looked at, word by word and layer by layer."""
    branch = branch if branch in analysis.texts else "frozen"
    signal = signal if signal in signals_of(analysis.texts[branch]) else "blend"
    scale = scale_of(analysis, analysis.texts[branch], signal, None, target)
    return text_table(analysis, branch, target, signal) + colour_bar(scale)

"""Text: every class's words, layer by layer, on one scale."""

from __future__ import annotations

from html import escape

import gradio as gr

from app.figures.importance import SIGNAL_NAMES, scale_of, signals_of, text_table
from app.figures.theme import colour_bar
from app.glossary import intro
from app.tabs.shared import View
from drople.analysis import Analysis

INTRO = (
    "The text branch of all classes on one scale, so that colours compare between classes: how "
    "much each word piece and learned prompt matters, layer by layer."
)


def build() -> list[View]:
    """Lays the view out."""
    intro(INTRO)
    with gr.Row(elem_classes="lens-controls"):
        signal = gr.Dropdown(
            [(name, key) for key, name in SIGNAL_NAMES.items()], value="blend", label="Signal",
            elem_id="texts-signal", min_width=180, filterable=False,
        )  # fmt: skip
        branch = gr.Radio(
            [("Adapted", "adapted"), ("Frozen", "frozen")], value="adapted", label="Branch",
            elem_id="texts-branch", min_width=140,
        )  # fmt: skip
    bar = gr.HTML(elem_id="texts-bar")
    strips = gr.HTML(elem_id="texts-strips")
    return [View(draw, [signal, branch], [bar, strips])]


def draw(analysis: Analysis, target: int, signal: str, branch: str) -> tuple[str, str]:
    """The scale, and a strip of all layers for each class; of long lists the ten likeliest."""
    branch = branch if branch in analysis.texts else "frozen"
    trace = analysis.texts[branch]
    signal = signal if signal in signals_of(trace) else "blend"
    scale = scale_of(analysis, trace, signal)
    shown = dict.fromkeys([target, *analysis.maps.classes])
    strips = [
        f"<section><h2>{escape(analysis.classes[i])}</h2>"
        f"{text_table(trace, i, signal, scale=scale)}</section>"
        for i in shown
    ]
    return colour_bar(scale), f'<div class="lens-texts">{"".join(strips)}</div>'

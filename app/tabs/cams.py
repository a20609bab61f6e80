"""Grad-CAM: frozen, adapted, vanilla and IWTD on one colour scale, and a wipe between two."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app.figures.cams import cam_panel, cam_scale
from app.figures.theme import CONDITION_NAMES, colour_bar
from app.glossary import intro
from app.markdown import plain_text
from app.tabs.shared import View, panel, picture
from app.wording.sentences import cam_sentence
from drople.analysis import Analysis
from drople.gradcam import CAM_METHODS

INTRO = (
    "Which patches speak for the class looked at. All panels share one scale. A: dropout is "
    "applied now, to the same weights, in one draw; this does not show models trained with each "
    "dropout."
)
CONDITIONS = ("frozen", "adapted", "vanilla", "iwtd")


def build() -> tuple[list[View], gr.Dropdown, gr.Slider, gr.Button]:
    """Lays the tab out; gives back what the button that computes needs."""
    intro(INTRO)
    with gr.Row():
        panels = [
            panel(c, f"cam-{c}", " (A)" if c in ("vanilla", "iwtd") else "") for c in CONDITIONS
        ]
    bar = gr.HTML(elem_id="cam-bar")
    note = gr.Markdown(elem_id="cam-note", elem_classes="lens-note")
    opacity = gr.Slider(0, 1, 0.65, step=0.05, label="Opacity of the map", elem_id="cam-opacity")
    with gr.Accordion("Compare two: wipe or flip", open=False, elem_id="wipe"):
        with gr.Row():
            left = gr.Radio(
                [(CONDITION_NAMES[c], c) for c in CONDITIONS], value="vanilla", label="Left (A)"
            )
            right = gr.Radio(
                [(CONDITION_NAMES[c], c) for c in CONDITIONS], value="iwtd", label="Right (B)"
            )
        with gr.Row():
            wipe = gr.ImageSlider(
                label="Wipe", format="png", interactive=False, elem_id="cam-wipe", max_height=460
            )
            with gr.Column(min_width=200):
                side = gr.Radio(
                    ["A", "B"], value="A", label="Flip (arrow keys)", elem_id="cam-flip"
                )
                flip = picture("A or B", "cam-flipped")
    with gr.Accordion("Another method or layer (computes anew)", open=False, elem_id="cam-more"):
        with gr.Row():
            method = gr.Dropdown(
                [(m.label, key) for key, m in CAM_METHODS.items()], value="gradcam", label="Method",
                elem_id="cam-method", filterable=False,
            )  # fmt: skip
            layer = gr.Slider(1, 12, 12, step=1, label="At the input of block", elem_id="cam-layer")
        button = gr.Button("Compute these maps", elem_id="cam-compute")
    views = [
        View(draw, [opacity], [*(part for pair in panels for part in pair), bar, note]),
        View(draw_wipe, [opacity, left, right, side], [wipe, flip], saved=False),
        View(draw_reach, [], [layer]),
    ]
    return views, method, layer, button


def _index(analysis: Analysis, target: int) -> int | None:
    shown = analysis.maps.classes
    return shown.index(target) if target in shown else None


def draw(analysis: Analysis, target: int, opacity: float) -> tuple[Any, ...]:
    """One panel a condition, the shared bar and the caveat."""
    index, maps = _index(analysis, target), analysis.maps
    if index is None:
        missing = (
            f"No map of {analysis.classes[target]} yet: of long lists the ten likeliest classes "
            "have one. Press Analyse to compute this one."
        )
        blank = [gr.skip(), None] * len(CONDITIONS)
        return (*blank, "", plain_text(missing))
    pictures: list[Any] = []
    for condition in CONDITIONS:
        pictures.append(gr.Column(visible=condition in maps.values))
        if condition not in maps.values:
            pictures.append(None)
            continue
        alt = f"{CONDITION_NAMES[condition]}: {cam_sentence(maps, condition, index)}"
        shown = cam_panel(analysis, maps, condition, index, opacity=opacity)
        pictures.append(gr.Image(shown, alt_text=alt))
    method = CAM_METHODS[maps.method]
    lines = [f"{analysis.classes[target]}. {method.caveat}"]
    lines += [f"{CONDITION_NAMES[c]}: {cam_sentence(maps, c, index)}" for c in maps.values]
    if any(gone.any() for gone in maps.unavailable.values()):
        lines.append("Hatched patches are dropped or hidden at this very layer and have no value.")
    return (*pictures, colour_bar(cam_scale(maps, index)), plain_text(" ".join(lines)))


def draw_wipe(
    analysis: Analysis, target: int, opacity: float, left: str, right: str, side: str
) -> tuple[Any, Any]:
    """Two conditions to wipe between, and the one of them that is flipped to."""
    index = _index(analysis, target)
    known = [c if c in analysis.maps.values else "frozen" for c in (left, right)]
    if index is None:
        return None, None
    pair = [cam_panel(analysis, analysis.maps, c, index, opacity=opacity) for c in known]
    chosen = 0 if side == "A" else 1
    name = f"{side}: {CONDITION_NAMES[known[chosen]]}"
    return tuple(pair), gr.Image(pair[chosen], alt_text=name)


def draw_reach(analysis: Analysis, target: int) -> Any:
    """How many blocks there are to choose from."""
    return gr.Slider(maximum=len(analysis.images["frozen"].layers))

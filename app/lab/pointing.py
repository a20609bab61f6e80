"""The pointing game, under the faithfulness curves: it needs no model, only a box."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app.figures.patches import SIDE
from app.glossary import intro
from app.lab.bench import Bench, numbers
from app.lab.display.pointing import boxed_photo, pointing_sentence, pointing_table
from app.lab.display.tables import table_of
from app.markdown import plain_text
from app.tabs.shared import QUIET, View, picture
from drople.analysis import Analysis
from drople.errors import SettingsError
from drople.lab.patch_maps import baseline_maps, judged_maps
from drople.lab.pointing import Box

INTRO = (
    "Pointing game: click two corners of a box around the object, or type it. A map hits where "
    "its highest patch lies inside."
)
Corner = tuple[float, float]


def build(bench: Bench) -> list[View]:
    """Lays the game out."""
    intro(INTRO)
    with gr.Row():
        with gr.Column(scale=2, min_width=260):
            photo = picture("Click two corners", "pointing-photo")
        with gr.Column(scale=3, min_width=260):
            typed = gr.Textbox(
                "", label="Box: left, top, right, bottom, in % of the picture",
                placeholder="20, 10, 80, 90", elem_id="pointing-box", max_length=60,
            )  # fmt: skip
            note = gr.Markdown(elem_id="pointing-note", elem_classes="lens-note")
            table = numbers("pointing-table", (240, 120, 120))
    corner: gr.State = gr.State(None, time_to_live=3600)  # the first of two clicks
    clicking = {**QUIET, "trigger_mode": "once"}
    photo.select(clicked, [bench.state, corner], [corner, typed, photo], **clicking)
    return [View(draw, [typed], [photo, note, table])]


def clicked(
    analysis: Analysis | None, corner: Corner | None, event: gr.SelectData
) -> tuple[Any, Any, Any]:
    """The first corner, shown as a dot; or with the second one, the box."""
    if analysis is None:
        return None, gr.skip(), gr.skip()
    here = (min(event.index[0] / SIDE, 1.0), min(event.index[1] / SIDE, 1.0))
    if corner is None:
        dot = gr.Image(boxed_photo(analysis, None, here), alt_text="one corner of a box")
        return here, gr.skip(), dot
    if corner[0] == here[0] or corner[1] == here[1]:
        return corner, gr.skip(), gr.skip()  # a box without area: wait for another click
    box = Box.between(corner, here)
    return None, str(box), gr.Image(boxed_photo(analysis, box), alt_text=f"the box {box}")


def draw(analysis: Analysis, target: int, typed: str) -> tuple[Any, str, dict[str, Any]]:
    """The photograph with the box, what chance would give, and every map's peak."""
    try:
        box = Box.read(typed)
    except SettingsError as error:
        return gr.skip(), plain_text(str(error)), table_of()
    if box is None:
        shown = gr.Image(boxed_photo(analysis, None), alt_text="the photograph, no box yet")
        return shown, "No box yet: click two opposite corners.", table_of()
    maps = {**judged_maps(analysis, target), **baseline_maps(analysis)}
    shown = gr.Image(boxed_photo(analysis, box), alt_text=f"the photograph with the box {box}")
    sentence = pointing_sentence(maps, box)
    if target not in analysis.maps.classes:
        sentence += f" This analysis holds no Grad-CAM of {analysis.classes[target]}."
    return shown, plain_text(sentence), pointing_table(analysis, maps, box)

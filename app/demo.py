"""The page: header, inputs, tabs in order; and how it is launched."""

from __future__ import annotations

import argparse
import logging
import os
import threading
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from app import permalink
from app.calls import MODEL, on_zero_gpu
from app.hardening import middleware
from app.inputs import Inputs, build_inputs
from app.lab import lab
from app.lab.bench import Bench
from app.page import API_FIELDS, Page
from app.studio import NO_PROMPTS, Studio
from app.tabs import cams, dropped, importance, method, predictions, take_away
from app.tabs.export import savable
from app.tabs.shared import QUIET, independent_event
from drople.devices import DEVICES
from drople.errors import DropleError

STYLE = Path(__file__).parents[1] / "assets" / "style.css"
# What is shown at once; where it must be computed, the studio lets one at a time.
OPENING: dict[str, Any] = {"concurrency_limit": 8, "concurrency_id": "open"}
TEMP_FILES = (600, 3600)  # every so many seconds, delete visitors' files so many seconds old
SESSION = 3600  # seconds an analysis is kept for a visitor who does nothing
# On a narrow screen the results come first; the visitor opens the inputs.
FOLD_ON_PHONES = "() => { if (innerWidth < 640) document.querySelector('#inputs button')?.click() }"

# What is shown belongs to an older form than the one on the left, or no longer does.
STALE = "() => { document.querySelector('#answer').classList.toggle('lens-stale', %s) }"
# A plot drawn on a closed tab has no width yet.
REFIT = "() => { setTimeout(() => dispatchEvent(new Event('resize')), 50) }"


def theme() -> gr.themes.Base:
    """Gradio's Soft theme with contrast that passes in light and dark."""
    return gr.themes.Soft(
        primary_hue="indigo",
        neutral_hue="slate",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(
        block_label_text_color="*primary_800",
        block_title_text_color="*primary_800",
        block_label_background_fill="*primary_50",
        block_title_background_fill="*primary_50",
        block_title_background_fill_dark="*primary_700",
        block_label_background_fill_dark="*primary_700",
        block_label_text_color_dark="white",
        block_title_text_color_dark="white",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_800",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        link_text_color="*primary_700",
        link_text_color_hover="*primary_800",
        checkbox_label_background_fill_selected="*primary_700",
        checkbox_label_background_fill_selected_dark="*primary_700",
        color_accent="*primary_700",
        color_accent_soft="*primary_50",
    )


def first_prompts(studio: Studio) -> str:
    """The prompts chosen when the page opens."""
    return next(iter(studio.prompts_for("mini")), NO_PROMPTS)


def build_demo(studio: Studio) -> gr.Blocks:
    """The whole page over one studio."""
    start = first_prompts(studio)
    page = Page(studio)
    device = "ZeroGPU" if on_zero_gpu() else studio.device_name()
    with gr.Blocks(title="DroPLe Lens", delete_cache=TEMP_FILES, analytics_enabled=False) as demo:
        gr.HTML(
            '<div class="lens-head"><h1>DroPLe Lens</h1><p>Which tokens matter, which get dropped, '
            f"and what that changes.</p><span>{escape(device)}</span></div>"
        )
        state: gr.State = gr.State(None, time_to_live=SESSION)
        with gr.Row():
            with (
                gr.Column(scale=1, min_width=290),
                gr.Accordion("Photograph, classes, settings", elem_id="inputs"),
            ):
                inputs = build_inputs(studio, start)
                restored = permalink.build(studio, inputs, demo)
            with gr.Column(scale=3, min_width=300):
                answer = gr.HTML(
                    '<div class="lens-answer">Opening the example …</div>', elem_id="answer"
                )
                inputs.target.render()
                with gr.Tabs(elem_id="tabs", overflow_behavior="wrap") as tabs:
                    with gr.Tab("Predictions", id="predictions"):
                        views = savable("predictions", predictions.build(), state, inputs.target)
                    with gr.Tab("Token importance", id="importance"):
                        views += savable(
                            "importance", importance.build(state), state, inputs.target
                        )
                    with gr.Tab("Dropped tokens", id="dropped"):
                        views += savable("dropped", dropped.build(), state, inputs.target)
                    with gr.Tab("Grad-CAM", id="cams"):
                        cam_views, cam_method, cam_layer, cam_button = cams.build()
                        views += savable("cams", cam_views, state, inputs.target)
                    with gr.Tab("Lab", id="lab"):
                        source = inputs.form["backbone"], inputs.form["prompts"]
                        bench = Bench(studio, state, inputs.target, source, MODEL)
                        comparisons = lab.build(bench)
                    with gr.Tab("Method", id="method"):
                        method.build()
                foot = gr.HTML(elem_id="provenance")
                take_away.build(state, inputs.target, [*views, *comparisons.views])
        # First of all events, so that its name is not taken by the page's own.
        _api(page, inputs)
        demo.load(None, None, None, js=FOLD_ON_PHONES)
        tabs.select(None, js=REFIT, api_visibility="private")
        for view in (*views, *comparisons.views):
            view.listen(state, inputs.target)
        outputs = [state, answer, inputs.target, foot]
        # The first picture waits for no other visitor's turn, unless it must be computed.
        opening = {
            "inputs_kwargs": inputs.form, "outputs": outputs, "show_progress_on": answer,
            "api_visibility": "private", **OPENING,
        }  # fmt: skip
        first = restored.then(page.open, **opening)
        chosen = inputs.example_chosen.success(page.open, **opening)
        computing = {**opening, **MODEL}
        pressed = inputs.run.click(page.analyse, **computing)
        redrawn = inputs.redrawn.then(page.analyse, **computing)
        with_maps = {**inputs.form, "cam_method": cam_method, "cam_layer": cam_layer}
        more = cam_button.click(page.analyse, **{**computing, "inputs_kwargs": with_maps})
        # Another picture or list: the class looked at is the new answer again.
        for changed in (inputs.form["image"].input, inputs.form["classes"].input):
            changed(lambda: None, None, inputs.target, **QUIET)
        gr.on(inputs.edited(), None, js=STALE % "true", api_visibility="private")
        # The page's own choice of a class comes with an analysis; `select` is the visitor's.
        done = (first, chosen, pressed, redrawn, more)
        for one in done:
            one.success(None, js=STALE % "false", api_visibility="private")
        for event in (independent_event(inputs.target.select), *(one.success for one in done)):
            comparisons.draw_on(event)
            for view in views:
                view.draw_on(event, state, inputs.target)
    demo.queue(max_size=32, default_concurrency_limit=4, api_open=False)
    return demo


def _api(page: Page, inputs: Inputs) -> None:
    """The named endpoints `/analyse` and `/evidence`: an analysis as numbers, and as a file."""
    asked = {name: inputs.form[name] for name in API_FIELDS}
    for name, call in (("analyse", page.api_analyse), ("evidence", page.api_evidence)):
        button, result = gr.Button(visible=False), gr.JSON(visible=False)
        button.click(call, outputs=result, inputs_kwargs=asked, api_name=name, **MODEL)
    gr.api(page.api_options, api_name="options")


def main() -> None:
    """Starts the app."""
    parser = argparse.ArgumentParser(description="DroPLe Lens in the browser.")
    parser.add_argument(
        "--device", choices=DEVICES, default=os.environ.get("DROPLE_DEVICE", "auto"),
        help="where to compute; also by the environment variable DROPLE_DEVICE",
    )  # fmt: skip
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    try:
        studio = Studio(arguments.device, own_files="SPACE_ID" not in os.environ)
    except DropleError as error:
        parser.error(str(error))
    start = first_prompts(studio)
    if on_zero_gpu():
        studio.load("mini", start)  # before the launch, when models are packed for the GPU
    demo = build_demo(studio)
    launch(demo, prevent_thread_lock=True)
    if not on_zero_gpu():
        # The first picture needs no model; the first visitor's own should not wait for one.
        threading.Thread(target=studio.warm_up, args=("mini", start), daemon=True).start()
    demo.block_thread()


def launch(demo: gr.Blocks, **changes: Any) -> Any:
    """Launches with the settings of a page that strangers may see."""
    settings: dict[str, Any] = {
        "show_error": False,
        "ssr_mode": False,
        "run_history": False,
        "enable_monitoring": False,
        "pwa": False,
        "mcp_server": False,
        "max_file_size": "10mb",
        "state_session_capacity": 64,
        "footer_links": ["api"],
        "theme": theme(),
        "css_paths": [STYLE],
        "head": '<link rel="icon" href="data:image/svg+xml,%3Csvg xmlns=%22http://www.w3.org/2000/svg%22/%3E">',
        "app_kwargs": {
            "middleware": middleware(),
            "docs_url": None,
            "redoc_url": None,
            "openapi_url": None,
        },
    }
    return demo.launch(**{**settings, **changes})

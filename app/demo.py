"""The page: header, inputs, tabs in order; and how it is launched."""

from __future__ import annotations

import argparse
import logging
import os
import threading
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr
from gradio.events import Dependency

from app import permalink
from app.asked import StrictBlocks, asked_components
from app.calls import MODEL, on_zero_gpu
from app.export.standalone import ASSETS
from app.hardening import middleware
from app.host import Host
from app.housekeeping import limit_arenas, tidied
from app.inputs import Inputs, build_inputs
from app.lab import lab, trained_with
from app.lab.bench import Bench, draw_reach, layer_slider
from app.page import Page
from app.studio import Studio
from app.tabs import batch, method, take_away, texts
from app.tabs.export import savable
from app.tabs.shared import QUIET, View, in_browser, independent_event
from drople.devices import DEVICES
from drople.errors import DropleError

ICON = (
    '<link rel="icon" href="data:image/svg+xml,%3Csvg xmlns=%22http://www.w3.org/2000/svg%22/%3E">'
)
STYLE = ASSETS / "style.css"
SCRIPTS = [ASSETS / "overview.js", ASSETS / "page.js"]
# What is shown at once; where it must be computed, the studio lets one at a time.
OPENING: dict[str, Any] = {"concurrency_limit": 8, "concurrency_id": "open"}
# A form is checked before it waits for its turn, and while others compute.
CHECKING: dict[str, Any] = {"concurrency_limit": 8, "concurrency_id": "check"}
# Draws come batch by batch, each in its own turn at the model.
DRAWING: dict[str, Any] = {"concurrency_limit": 8, "concurrency_id": "draws"}
TEMP_FILES = (600, 3600)  # every so many seconds, delete visitors' files so many seconds old
SESSION = 3600  # seconds an analysis is kept for a visitor who does nothing
WAITING = 240  # calls in the queue; each visitor's page sends one or two
SESSIONS = 256  # visitors whose results are kept, some 3 MB each; more than may wait

# The overview is drawn in the browser; nothing that is looked at there asks the server.
MOUNT = """
const lens = window.lens = DropleLens.mount(element.querySelector(".drople-lens"), {
    state: lookedAt(location.search),
    guide: true,
    pins: true,
    onState: state => { if (state.class !== lens.named) trigger("select", state) },
    onAsk: asked => { lens.asked = asked.class; trigger("input") },
})
const show = () => {
    if (!props.value?.id && !props.value?.message) return
    lens.update(props.value)
    const { id, draws, draws_wanted: wanted } = props.value
    if (id === lens.id()) tell({ drawing: (draws?.count ?? 0) < (wanted ?? 0) })
    if (props.value.shown?.some(i => props.value.classes[i] === lens.asked)) {
        lens.set({ class: lens.asked })
        lens.asked = null
    }
}
watch("value", show)
show()
"""
CLASS_ASKED = "() => window.lens?.asked ?? null"  # one that has no maps yet
CLASS_SHOWN = "name => (window.lens ? (lens.named = lens.state().class ?? null) : name)"
CLASS_CHOSEN = "name => { window.lens?.set({ class: name }) }"
# What runs and what is shown, as the page's line under the bar and its Stop button tell it.
RUNNING = "(...form) => asking(form)"
ANALYSED = "(...form) => { tell({ analysing: false }); answered(form) }"
OPENED = "(...form) => answered(form, JSON.stringify(form))"
FAILED = "() => tell({ analysing: false })"
STOPPED = "() => tell({ analysing: false, drawing: false, stopped: true })"
GOING_ON = "() => tell({ stopped: false })"
DRAWN = "() => tell({ drawing: false })"
EDITED = "(...form) => edited(form)"
VISITED = "() => { setTimeout(visited, 50) }"  # once the tab is there


def theme() -> gr.themes.Base:
    """Gradio's Soft theme with contrast that passes in light and dark."""
    return gr.themes.Soft(
        primary_hue="indigo",
        neutral_hue="slate",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(
        body_background_fill="*neutral_100",
        block_label_text_color="*neutral_600",
        block_title_text_color="*neutral_600",
        block_label_background_fill="transparent",
        block_title_background_fill="none",
        block_label_text_color_dark="*neutral_300",
        block_title_text_color_dark="*neutral_300",
        block_label_background_fill_dark="transparent",
        block_title_background_fill_dark="none",
        block_title_text_weight="400",
        body_background_fill_dark="*neutral_950",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_800",
        button_secondary_background_fill_hover_dark="*neutral_700",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        link_text_color="*primary_700",
        link_text_color_hover="*primary_800",
        checkbox_label_background_fill_selected="*primary_700",
        checkbox_label_background_fill_selected_dark="*primary_700",
        color_accent="*primary_700",
        color_accent_soft="*primary_50",
    )


def head() -> str:
    """What the browser loads first. Gradio would rewrite the overview's style, were it given it."""
    style = f"<style>{(ASSETS / 'overview.css').read_text(encoding='utf-8')}</style>"
    scripts = [f"<script>{path.read_text(encoding='utf-8')}</script>" for path in SCRIPTS]
    return "".join([ICON, style, *scripts])


def build_demo(studio: Studio, host: Host | None = None) -> gr.Blocks:
    """The whole page over one studio.

    Args:
        host: its limits; None for the defaults.
    """
    host = host or Host()
    page = Page(studio, host.draws)
    device = "ZeroGPU" if on_zero_gpu() else studio.device_name()
    with StrictBlocks(
        title="DroPLe Lens", fill_width=True, delete_cache=TEMP_FILES, analytics_enabled=False
    ) as demo:
        state: gr.State = gr.State(None, time_to_live=SESSION)
        draws: gr.State = gr.State(None, time_to_live=SESSION)
        inputs = build_inputs(studio, device)
        source = inputs.form["backbone"], inputs.form["prompts"]
        bench = Bench(studio, state, inputs.target, layer_slider(), source, MODEL)
        with gr.Tabs(elem_id="tabs", overflow_behavior="wrap") as tabs:
            with gr.Tab("Overview", id="overview"):
                overview = gr.HTML(
                    {}, html_template='<div class="drople-lens"></div>', js_on_load=MOUNT,
                    elem_id="overview", apply_default_css=False,
                )  # fmt: skip
            with gr.Tab("Text", id="text", elem_classes="lens-answers"):
                views = savable("text", texts.build(), state, target=inputs.target, dropout=False)
            with gr.Tab("Trained with", id="trained-with", elem_classes="lens-answers"):
                views += savable(
                    "trained-with",
                    trained_with.build(bench),
                    state,
                    target=inputs.target,
                    dropout=False,
                )
            with gr.Tab("Lab", id="lab", elem_classes="lens-answers") as lab_tab:
                comparisons = lab.build(bench)
                views.append(View(draw_reach, [], [bench.layer]))
            with gr.Tab("Method", id="method"):
                method.build()
            with gr.Tab("Batch", id="batch"):
                batch.build(studio, inputs.form, host)
            with gr.Tab("Save", id="save"):
                take_away.build(state, draws)
                restored = permalink.build(
                    studio, inputs, demo, tabs={"tab": tabs, "view": comparisons.row}
                )
        # First of all events, or one of the page's would take its name.
        _api(page, studio)
        in_browser(tabs.select, VISITED)
        for view in views:
            view.listen(state, inputs.target)
        comparisons.listen(lab_tab)
        results = _run(page, inputs, Shown(state, draws, overview), restored=restored)
        # Another picture or list: the class looked at is the new answer again.
        for changed in (inputs.form["image"].input, inputs.form["classes"].input):
            changed(lambda: None, None, inputs.target, **QUIET)
        in_browser(partial(gr.on, inputs.edited()), EDITED, given=inputs.asked())
        in_browser(overview.select, CLASS_SHOWN, inputs.target, given=[inputs.target])
        for looked in (
            in_browser(inputs.target.select, CLASS_CHOSEN, given=[inputs.target]),
            *(
                in_browser(one.success, CLASS_SHOWN, inputs.target, given=[inputs.target])
                for one in results
            ),
        ):
            comparisons.draw_on(looked.success)
            for view in views:
                view.draw_on(looked.success, state, inputs.target)
    demo.queue(max_size=WAITING, default_concurrency_limit=4, api_open=False)
    # Answers that nobody fetches are kept too, of 2000 callers by default.
    demo._queue.pending_messages_per_session.max_size = SESSIONS
    return demo


@dataclass(frozen=True)
class Shown:
    """Where the newest result is kept and shown."""

    state: gr.State  # the analysis
    draws: gr.State  # its overview, and its draws so far
    overview: gr.HTML


def _run(page: Page, inputs: Inputs, shown: Shown, *, restored: Dependency) -> list[Dependency]:
    """Lets a visitor analyse, draw and stop; gives the events after which there is a new result."""
    # A click's callbacks wait for each other: were the analysis one of them, what stops the
    # former draws and shows the Stop button would wait until the new result is there.
    pressed = independent_event(inputs.run.click)
    asked = in_browser(shown.overview.input, CLASS_ASKED, inputs.target)
    starts = pressed, inputs.redrawn.then, asked.then
    # A press is never lost to an analysis that is about to stop.
    checked = [
        start(
            page.check, inputs_kwargs=inputs.form, show_progress="hidden",
            api_visibility="private", trigger_mode="multiple", **CHECKING,
        )
        for start in starts
    ]  # fmt: skip
    # The first picture waits for no other visitor's turn, unless it must be computed.
    opening = {
        "inputs_kwargs": inputs.form,
        "outputs": [shown.state, shown.draws, shown.overview, inputs.target],
        "show_progress_on": inputs.progress, "api_visibility": "private", **OPENING,
    }  # fmt: skip
    computing = {**opening, **MODEL, "trigger_mode": "multiple"}
    opened = [
        event(page.open, **opening) for event in (restored.then, inputs.example_chosen.success)
    ]
    analysed = [one.success(page.analyse, **computing) for one in checked]
    drawing = _draw_after([*opened, *analysed], page, inputs, shown=shown)
    stopped = [*checked, *opened, *analysed, *drawing]
    inputs.stop.click(None, None, None, cancels=stopped, api_visibility="private")
    independent_event(inputs.stop.click)(
        page.stop, None, None, show_progress="hidden", api_visibility="private", **CHECKING
    )
    for event, script in (
        *((start, RUNNING) for start in starts),
        *((one.success, ANALYSED) for one in analysed),
        *((one.success, OPENED) for one in opened),
    ):
        in_browser(event, script, given=inputs.asked())
    for event, script in (
        (inputs.stop.click, STOPPED),
        *((one.failure, FAILED) for one in (*checked, *analysed)),
        # Draws of a former result may end after the first of the new one; its next say so again.
        *((end, DRAWN) for one in drawing for end in (one.success, one.failure)),
        *((one.select, GOING_ON) for one in inputs.pair),
    ):
        in_browser(event, script)
    return [*opened, *analysed]


def _draw_after(
    results: list[Dependency], page: Page, inputs: Inputs, *, shown: Shown
) -> list[Dependency]:
    """Draws after each result, and for another pair of dropouts, which end those before."""
    chosen = [one.select for one in inputs.pair]
    # The picture is not looked at again: among many visitors it would be decoded anew.
    drawing = {
        "inputs": shown.draws, "outputs": [shown.draws, shown.overview],
        "inputs_kwargs": {name: one for name, one in inputs.form.items() if name != "image"},
        "show_progress": "hidden", "api_visibility": "private", **DRAWING,
    }  # fmt: skip
    compared = independent_event(*chosen)(page.compare, trigger_mode="always_last", **drawing)
    # "multiple", since those before may still be in a batch.
    return [
        one.success(page.draw, trigger_mode="multiple", **drawing) for one in (*results, compared)
    ]


def _api(page: Page, studio: Studio) -> None:
    """The named endpoints `/analyse` and `/evidence`: an analysis as numbers, and as a file."""
    asked = asked_components(*studio.start)
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
    parser.add_argument(
        "--prompts", metavar="FILE", default=os.environ.get("DROPLE_PROMPTS") or None,
        help="prompts that the page starts with, a .safetensors file or user/repo@revision; also "
        "by the environment variable DROPLE_PROMPTS",
    )  # fmt: skip
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    limit_arenas()
    try:
        host = Host.read(os.environ)
        own_files = "SPACE_ID" not in os.environ
        studio = Studio(arguments.device, own_files=own_files, prompts=arguments.prompts)
    except DropleError as error:
        parser.error(str(error))
    if on_zero_gpu():
        studio.load(*studio.start)  # before the launch, when models are packed for the GPU
    demo = build_demo(studio, host)
    launch(demo, prevent_thread_lock=True)
    if not on_zero_gpu():
        # The first picture needs no model; the first visitor's own should not wait for one.
        threading.Thread(target=studio.warm_up, args=studio.start, daemon=True).start()
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
        "max_file_size": "20mb",
        "state_session_capacity": SESSIONS,
        "footer_links": ["api"],
        "theme": theme(),
        "css_paths": [STYLE],
        "head": head(),
        "app_kwargs": {
            "middleware": middleware(),
            "lifespan": tidied,
            "docs_url": None,
            "redoc_url": None,
            "openapi_url": None,
        },
    }
    return demo.launch(**{**settings, **changes})

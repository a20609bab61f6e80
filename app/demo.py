"""The page: header, inputs, tabs in order; and how it is launched."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from app.figures.theme import CONDITION_NAMES, chip
from app.figures.words import draw_sentence, headline, provenance_line
from app.hardening import middleware
from app.inputs import Inputs, build_inputs, settings_of
from app.studio import DEVICES, NO_PROMPTS, Loaded, Studio
from app.tabs import cams, dropped, importance, method, predictions
from app.tabs.shared import QUIET, View, target_index
from drople.analysis import Analysis, AnalysisSettings
from drople.classes import parse_class_list
from drople.dropout import DropoutSettings
from drople.errors import DropleError

STYLE = Path(__file__).parents[1] / "assets" / "style.css"
# One visitor at a time computes; every event of the group has the same limit (the lowest wins).
MODEL: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model"}
# On a narrow screen the results come first; the visitor opens the inputs.
FOLD_ON_PHONES = "() => { if (innerWidth < 640) document.querySelector('#inputs button')?.click() }"
log = logging.getLogger(__name__)


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
        color_accent="*primary_700",
        color_accent_soft="*primary_50",
    )


def build_demo(studio: Studio) -> gr.Blocks:
    """The whole page over one studio."""
    names = [*studio.prompts_for("mini")]
    start = names[0] if names else NO_PROMPTS
    page = Page(studio)
    with gr.Blocks(title="DroPLe Lens", delete_cache=(600, 3600), analytics_enabled=False) as demo:
        gr.HTML(
            '<div class="lens-head"><h1>DroPLe Lens</h1><p>Which tokens matter, which get dropped, '
            f"and what that changes.</p><span>{escape(studio.device_name())}</span></div>"
        )
        state: gr.State = gr.State(None, time_to_live=3600)
        with gr.Row():
            with (
                gr.Column(scale=1, min_width=290),
                gr.Accordion("Photograph, classes, settings", elem_id="inputs"),
            ):
                inputs = build_inputs(studio, start)
            with gr.Column(scale=3, min_width=300):
                answer = gr.HTML(
                    '<div class="lens-answer">Analysing the example …</div>', elem_id="answer"
                )
                inputs.target.render()
                with gr.Tabs(elem_id="tabs"):
                    with gr.Tab("Predictions", id="predictions"):
                        views = predictions.build()
                    with gr.Tab("Token importance", id="importance"):
                        views += importance.build(state)
                    with gr.Tab("Dropped tokens", id="dropped"):
                        views += dropped.build()
                    with gr.Tab("Grad-CAM", id="cams"):
                        cam_views, cam_method, cam_layer, cam_button = cams.build()
                        views += cam_views
                    with gr.Tab("Method", id="method"):
                        method.build()
                foot = gr.HTML(elem_id="provenance")
        demo.load(None, None, None, js=FOLD_ON_PHONES)
        for view in views:
            view.listen(state, inputs.target)
        outputs = [state, answer, inputs.target, foot]
        asked = inputs.asked()
        first = demo.load(page.analyse, asked, outputs, api_visibility="private",
                          show_progress="hidden", **MODEL)  # fmt: skip
        pressed = inputs.run.click(
            page.analyse, asked, outputs, api_visibility="private", show_progress_on=answer, **MODEL
        )
        more = cam_button.click(
            page.analyse, [*asked, cam_method, cam_layer], outputs, api_visibility="private",
            show_progress_on=answer, **MODEL,
        )  # fmt: skip
        # Another picture or list: the class looked at is the new answer again.
        for changed in (inputs.image.input, inputs.image.change, inputs.classes.input):
            changed(lambda: None, None, inputs.target, **QUIET)
        for done in (first, pressed, more):
            _draw_all(done, views, state, inputs.target)
        _api(page, inputs)
    demo.queue(max_size=32, default_concurrency_limit=4, api_open=False)
    return demo


def _draw_all(done: Any, views: list[View], state: gr.State, target: gr.Dropdown) -> None:
    """Draws every view once an analysis is there."""
    for view in views:
        done.success(view.drawn, [state, target, *view.controls], list(view.outputs), **QUIET)


def _api(page: Page, inputs: Inputs) -> None:
    """The named endpoint `/analyse`: an analysis as numbers."""
    result = gr.JSON(visible=False)
    button = gr.Button(visible=False)
    given = [inputs.image, inputs.classes, inputs.backbone, inputs.prompts, inputs.seed]
    button.click(page.api_analyse, given, result, api_name="analyse", **MODEL)


class Page:
    """The page's callbacks over one studio."""

    def __init__(self, studio: Studio):
        self.studio = studio

    def analyse(
        self,
        image: Image.Image | None,
        classes: str,
        backbone: str,
        prompts: str,
        template: str,
        target: str | None,
        *rest: Any,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  # how Gradio asks for one
    ) -> Iterator[tuple[Any, ...]]:
        """Analyses what the form holds; the old result stays where something is wrong."""
        form, cam = rest[:11], rest[11:]
        try:
            progress(0.05, desc="1 of 3: reading the class list")
            names = parse_class_list(classes)
            picture = _given(image)
            progress(0.2, desc=f"2 of 3: loading {backbone}")
            loaded = self.studio.load(backbone, prompts)
            trained = loaded.card.dropout if loaded.card else DropoutSettings()
            settings = settings_of(template, target, *form, trained=trained)
            if cam:
                settings = _with_cam(settings, cam[0], int(cam[1]) - 1)
            progress(0.4, desc="3 of 3: both branches, three conditions, maps of all classes")
            analysis = self.studio.analyse(loaded, picture, names, settings)
        except DropleError as error:
            raise gr.Error(str(error), duration=None, print_exception=False) from None
        except Exception as error:
            log.exception("an analysis failed")
            raise gr.Error(
                "Something went wrong on our side; your settings are kept. Try again, or another "
                "picture.",
                print_exception=False,
            ) from error
        yield analysis, answer_html(analysis), target_choices(analysis, target), foot_html(analysis)

    def api_analyse(
        self,
        image: Image.Image | None,
        classes: str,
        backbone: str = "mini",
        prompts: str = NO_PROMPTS,
        seed: float = 0,
    ) -> dict[str, Any]:
        """Analyses a picture with default settings.

        Args:
            image: the picture, as a file.
            classes: class names separated by commas or lines.
            backbone: name of the frozen CLIP.
            prompts: name of the trained prompts, or "none".
            seed: of the draw.

        Returns:
            classes; for each condition its cosines, probabilities and logit scale; importance and
            drop probability of each layer's patches (rows of the grid); which are dropped; where
            it all comes from.
        """
        try:
            names, picture = parse_class_list(classes), _given(image)
            loaded: Loaded = self.studio.load(backbone, prompts)
            dropout = loaded.card.dropout if loaded.card else DropoutSettings()
            settings = AnalysisSettings(dropout=dropout, seed=int(seed or 0))
            return as_numbers(self.studio.analyse(loaded, picture, names, settings))
        except DropleError as error:
            raise gr.Error(str(error), print_exception=False) from None


def _given(image: Image.Image | None) -> Image.Image:
    if image is None:
        raise DropleError("There is no picture yet. Upload one, or choose an example.")
    return image


def _with_cam(settings: AnalysisSettings, name: str, layer: int) -> AnalysisSettings:
    return AnalysisSettings(**{**vars(settings), "cam_method": name, "cam_layer": layer})


def answer_html(analysis: Analysis) -> str:
    """The answer in words: what each condition says."""
    said = [
        chip(condition, f"{CONDITION_NAMES[condition]}: {text}")
        for condition, text in headline(analysis, 0)
    ]
    return (
        f'<div class="lens-answer">{" ".join(said)}'
        f'<span class="lens-draw">{escape(draw_sentence(analysis))}</span></div>'
    )


def target_choices(analysis: Analysis, target: str | None) -> Any:
    """The classes to look at: all of a short list; of a long one those with maps."""
    shown = [analysis.classes[i] for i in analysis.maps.classes]
    choices = [*analysis.classes] if len(analysis.classes) <= 300 else shown
    chosen = analysis.classes[target_index(analysis, target)]
    return gr.Dropdown(choices, value=chosen)


def foot_html(analysis: Analysis) -> str:
    """Where the pictures come from."""
    return f'<div class="lens-foot">{escape(provenance_line(analysis))}</div>'


def as_numbers(analysis: Analysis) -> dict[str, Any]:
    """An analysis as plain numbers for the API."""
    layers: dict[str, list[dict[str, Any]]] = {}
    for condition, trace in analysis.images.items():
        layers[condition] = [
            {
                "layer": one.depth + 1,
                "importance": one.patches(one.blend).tolist(),
                "p": None if one.probability is None else one.patches(one.probability).tolist(),
                "dropped": None if one.dropped is None else one.patches(one.dropped).tolist(),
            }
            for one in trace.layers
        ]
    return {
        "classes": list(analysis.classes),
        "predictions": {
            condition: {
                "cosines": said.cosines.tolist(),
                "probabilities": said.probabilities.tolist(),
                "logit_scale": said.logit_scale,
            }
            for condition, said in analysis.predictions.items()
        },
        "layers": layers,
        "provenance": analysis.provenance,
    }


def main() -> None:
    """Starts the app."""
    parser = argparse.ArgumentParser(description="DroPLe Lens in the browser.")
    parser.add_argument(
        "--device", choices=DEVICES, default=os.environ.get("DROPLE_DEVICE", "auto"),
        help="where to compute; also by the environment variable DROPLE_DEVICE",
    )  # fmt: skip
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    try:
        studio = Studio(given.device, own_files="SPACE_ID" not in os.environ)
    except DropleError as error:
        parser.error(str(error))
    launch(build_demo(studio))


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

"""What a visitor gives: the picture, the class list, the prompts, the dropout."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from html import escape
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.utils import is_in_or_equal
from PIL import Image

from app.calls import user_errors
from app.examples import EXAMPLES
from app.figures.patches import jpeg_uri
from app.form import SEED, SETTINGS, Form, dropout_values
from app.studio import BACKBONES, NO_PROMPTS, Studio
from drople.images import read_image
from drople.tokens.dropout import OFFICIAL_CODE, DropoutSettings

PRESETS: dict[str, str] = {
    "Animals": "cat, dog, horse, cow, sheep, elephant, bear, bird, fish, snake",
    "Vehicles": "car, bus, train, bicycle, motorcycle, boat, airplane",
    "Food": "pizza, broccoli, cake, sandwich, soup, banana, bread, salad",
    "People": "tennis player, swimmer, skier, cyclist, cook, astronaut",
    "Rooms": "bedroom, kitchen, office, bathroom, library, living room",
    "Places": "beach, forest, mountain, street, church, bridge, garden, river, desert",
}
WITHOUT = "no prompts: frozen CLIP alone"
OWN_CLASSES = "Classes the prompts were trained on"
KNOBS = tuple(dropout_values(DropoutSettings()))  # what a dropout preset sets
QUIET = {"show_progress": "hidden", "api_visibility": "private"}
CUSTOM, TRAINED, CODE, PAPER = "as set below", "as trained", "official code", "zeroing, our reading"


class SafeImage(gr.Image):  # type: ignore[misc]  # gradio is not typed
    """An image input that always gives an RGB picture or one clear error."""

    is_template = True  # the page then uses the built-in Image component

    def accept(self, value: Any) -> dict[str, Any] | None:
        """A picture as it is sent, with no more than where it was uploaded to.

        Without this, Gradio would read any file of this machine whose path is sent without its
        mark of an upload, and fetch any address.
        """
        if value is None:
            return None
        path = value.get("path") if isinstance(value, dict) else None
        known = isinstance(path, str) and "\0" not in path
        if not known or not is_in_or_equal(path, self.GRADIO_CACHE):
            raise gr.Error("Send the picture as a file.", print_exception=False)
        return {"path": path, "meta": {"_type": "gradio.FileData"}}

    def preprocess(self, payload: Any) -> Image.Image | None:
        if payload is None:
            return None
        with user_errors():
            there = os.path.isfile(payload.path)
            return _read_once(payload.path, os.stat(payload.path).st_mtime_ns if there else 0)


@lru_cache(maxsize=4)
def _read_once(path: str, changed: int) -> Image.Image:
    """A picture of the form, which every event that reads the form asks for; not to be changed.

    Args:
        changed: when the file was, in nanoseconds.
    """
    return read_image(path)


@dataclass(frozen=True)
class Inputs:
    """The components a visitor fills in."""

    form: dict[str, Component]  # by the name of the field of `Form`
    run: gr.Button
    stop: gr.Button
    progress: gr.HTML  # of an analysis, with the wait before it; and that a result is old
    dropout: gr.Dropdown  # the preset
    example: gr.Textbox  # name of the example shown, empty for the visitor's own picture
    example_chosen: Any  # the event after which an example fills the form
    memory: gr.BrowserState  # the settings that the browser keeps
    redrawn: Any  # the event after which the form holds another seed

    @property
    def target(self) -> Component:
        """The class looked at."""
        return self.form["target"]

    @property
    def pair(self) -> tuple[Component, Component]:
        """The dropouts compared."""
        return self.form["compared"], self.form["against"]

    def kept(self) -> dict[str, Component]:
        """What a link or a browser keeps, by name: all settings, but neither picture nor list."""
        return {name: self.form[name] for name in ("backbone", "prompts", *SETTINGS)}

    def asked(self) -> list[Component]:
        """What the next analysis will be of: all but what is looked at and compared."""
        no_matter = (self.target, *self.pair)
        return [one for one in (*self.form.values(), self.dropout) if one not in no_matter]

    def edited(self) -> list[Callable[..., Any]]:
        """The events of a visitor who changes that."""
        # What is pasted into a text is a change, but no input to Gradio.
        return [one.change if isinstance(one, gr.Textbox) else one.input for one in self.asked()]


def build_inputs(studio: Studio, device: str) -> Inputs:
    """The bar, with the panels that its buttons open.

    Args:
        device: what computes, as the bar names it.
    """
    start, offered = studio.start[0], named_prompts(studio, studio.start[0])
    with gr.Row(elem_id="bar"):
        gr.HTML("<h1>DroPLe Lens</h1>", elem_id="brand")
        photo = gr.Button("Photo", elem_id="photo-button", min_width=60)
        classes = gr.Textbox(
            first_classes(studio), label="Classes", show_label=False,
            container=False, lines=1, max_lines=3, elem_id="classes", max_length=200_000,
            placeholder="Classes, separated by commas or lines", scale=6, min_width=160,
        )  # fmt: skip
        prompts = gr.Dropdown(
            offered, value=studio.start[1], label="Trained prompts", show_label=False,
            container=False, elem_id="prompts", allow_custom_value=studio.own_files,
            scale=2, min_width=150,
        )  # fmt: skip
        run = gr.Button("Analyse", variant="primary", elem_id="run", min_width=90)
        stop = gr.Button("Stop", elem_id="stop", min_width=90)
        gr.HTML(f"<span>{escape(device)}</span>", elem_id="device")
        options = gr.Button("Settings", elem_id="settings-button", min_width=60)
    progress = gr.HTML('<p role="status"></p><span></span>', elem_id="progress")
    for button, panel in ((photo, "photo"), (options, "settings")):
        button.click(None, None, None, js=f"() => togglePanel('{panel}')", api_visibility="private")
    with gr.Column(elem_id="photo-panel", elem_classes="lens-panel"), gr.Row():
        with gr.Column(scale=2, min_width=240):
            image = SafeImage(
                label="Photograph", show_label=False, sources=["upload", "webcam", "clipboard"],
                type="pil", value=EXAMPLES[0].photo, height=230, elem_id="image",
                buttons=["fullscreen"],
            )  # fmt: skip
            preset = gr.Dropdown(
                [*PRESETS, OWN_CLASSES], value=None, label="Class list presets", elem_id="preset"
            )
        with gr.Column(scale=5, min_width=240):
            examples = build_picker()
    example = gr.Textbox(EXAMPLES[0].name, visible=False)
    chosen = examples.select(choose_example, None, [image, classes, example], **QUIET)
    image.input(lambda: "", None, example, **QUIET)
    shown = vars(Form()) | dropout_values(studio.trained_dropout(*studio.start))

    def built(group: str) -> dict[str, Component]:
        return {n: one.build(shown[n]) for n, one in SETTINGS.items() if one.group == group}

    with gr.Column(elem_id="settings-panel", elem_classes="lens-panel"):
        choice = gr.Dropdown(
            [TRAINED, PAPER, CODE, CUSTOM], value=TRAINED, label="Preset", elem_id="dropout-preset",
            info="The official code drops nothing: it multiplies chosen tokens by 1 + 0.03 noise.",
        )  # fmt: skip
        with gr.Row():
            settings = built("pair")
        settings |= built("dropout") | built("weights") | built("text prompts") | built("maps")
        with gr.Row():
            settings |= built("draw")
            seed = settings["seed"]
            again = gr.Button("Another draw", elem_id="again", min_width=90)
            redrawn = again.click(next_seed, seed, seed, **QUIET)
        backbone = gr.Dropdown(
            [*dict.fromkeys((*BACKBONES, start))], value=start, label="Backbone",
            elem_id="backbone", allow_custom_value=studio.own_files,
            info="mini comes with the app; others need the network once, or a local cache."
            + (" Prompts may also be a .safetensors file, or user/repo@revision."
               if studio.own_files else ""),
        )  # fmt: skip
        settings |= built("text")
    # The class looked at is chosen in the overview; the lab's own tab shows it.
    target = gr.Dropdown(
        [], label="Class looked at", elem_id="target", render=False, interactive=True,
        allow_custom_value=True, filterable=True,
    )  # fmt: skip
    # Outside of all tabs: what stands on a closed one neither reads nor writes. The secret keeps
    # nobody out, since the browser has it; it only has to stay the same.
    memory = gr.BrowserState({}, storage_key="drople-lens", secret="drople-lens")
    form = {"image": image, "classes": classes, "backbone": backbone, "prompts": prompts,
            "target": target, **settings}  # fmt: skip
    inputs = Inputs(
        form=form, run=run, stop=stop, progress=progress,
        dropout=choice, example=example, example_chosen=chosen, memory=memory, redrawn=redrawn,
    )  # fmt: skip
    _link(studio, inputs, preset)
    return inputs


def first_classes(studio: Studio) -> str:
    """The class list at first: what the host's prompts learnt, else the first example's."""
    card = studio.card(*studio.start) if studio.host_prompts else None
    return ", ".join(card.classes) if card and card.classes else EXAMPLES[0].classes


def build_picker() -> gr.HTML:
    """The examples as photographs to click on, each with its classes."""
    cards = "".join(
        f'<button type="button" data-name="{one.name}"><img src="{thumbnail(one.photo)}" alt="">'
        f"<b>{escape(one.label)}</b><span>{escape(one.failure or one.classes)}</span></button>"
        for one in EXAMPLES
    )
    return gr.HTML(
        html_template=f'<div class="lens-examples">{cards}</div>', elem_id="examples",
        apply_default_css=False,
        js_on_load="element.querySelectorAll('button').forEach(one => one.onclick = () => {"
        " delete document.body.dataset.panel; trigger('select', { name: one.dataset.name }) })",
    )  # fmt: skip


def thumbnail(path: str) -> str:
    """A photograph as a small data URI."""
    picture = read_image(path)
    picture.thumbnail((208, 156))
    return jpeg_uri(picture, 80)


def choose_example(event: gr.EventData) -> tuple[Any, ...]:
    """Photograph, classes and name of the example that was clicked on."""
    one = next((one for one in EXAMPLES if one.name == event.name), EXAMPLES[0])
    return one.photo, one.classes, one.name


def _link(studio: Studio, inputs: Inputs, preset: gr.Dropdown) -> None:
    """Lets presets fill the form; changing a value by hand leaves the preset."""
    prompts, backbone = inputs.form["prompts"], inputs.form["backbone"]
    choice, knobs = inputs.dropout, [inputs.form[name] for name in KNOBS]
    fill = partial(preset_dropout, studio)
    preset.input(
        partial(preset_classes, studio), [preset, prompts, backbone], inputs.form["classes"],
        **QUIET,
    )  # fmt: skip
    other = backbone.input(partial(prompts_choices, studio), backbone, prompts, **QUIET)
    choice.input(fill, [choice, prompts, backbone], knobs, **QUIET)
    # Other prompts, chosen by hand: where the preset says so, the dropout that is theirs.
    for chosen in (other.then, prompts.input):
        chosen(fill, [choice, prompts, backbone], knobs, **QUIET)
    for knob in knobs:
        knob.input(None, None, choice, js=f"() => '{CUSTOM}'", api_visibility="private")


def next_seed(seed: float | None) -> int:
    """The seed of another draw; after the highest comes 0."""
    return (int(seed or 0) + 1) % (SEED["maximum"] + 1)


def preset_classes(studio: Studio, chosen: str | None, prompts: str, backbone: str) -> Any:
    """The class list a preset stands for."""
    if chosen == OWN_CLASSES:
        with user_errors():
            card = studio.card(backbone, prompts)
        return ", ".join(card.classes) if card and card.classes else gr.skip()
    return PRESETS.get(chosen or "", gr.skip())


def prompts_choices(studio: Studio, backbone: str) -> Any:
    """The prompts there are for a backbone; none, where there are none."""
    names = named_prompts(studio, backbone)
    return gr.Dropdown(names, value=names[0][1])


def named_prompts(studio: Studio, backbone: str) -> list[tuple[str, str]]:
    """The prompts there are for a backbone, and that there may be none: as shown, and as asked."""
    return [*((name, name) for name in studio.prompts_for(backbone)), (WITHOUT, NO_PROMPTS)]


def preset_dropout(studio: Studio, chosen: str, prompts: str, backbone: str) -> list[Any]:
    """The values a preset stands for, in the order of `KNOBS`."""
    if chosen == CUSTOM:
        return [gr.skip()] * len(KNOBS)
    preset = OFFICIAL_CODE if chosen == CODE else DropoutSettings()
    if chosen == TRAINED:
        with user_errors():
            preset = studio.trained_dropout(backbone, prompts)
    return [*dropout_values(preset).values()]

"""What a visitor gives: the picture, the class list, the prompts, the dropout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr
from gradio.components import Component
from PIL import Image

from app.calls import user_errors
from app.examples import EXAMPLES
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
OWN_CLASSES = "Classes the prompts were trained on"
KNOBS = tuple(dropout_values(DropoutSettings()))  # what a dropout preset sets
QUIET = {"show_progress": "hidden", "api_visibility": "private"}
CUSTOM, TRAINED, CODE, PAPER = "as set below", "as trained", "official code", "zeroing, our reading"


class SafeImage(gr.Image):  # type: ignore[misc]  # gradio is not typed
    """An image input that always gives an RGB picture or one clear error."""

    is_template = True  # the page then uses the built-in Image component

    def preprocess(self, payload: Any) -> Image.Image | None:
        if payload is None:
            return None
        if payload.path is None:  # a data: URL from an API caller
            raise gr.Error("Send the picture as a file.", print_exception=False)
        with user_errors():
            return read_image(payload.path)


@dataclass(frozen=True)
class Inputs:
    """The components a visitor fills in."""

    form: dict[str, Component]  # by the name of the field of `Form`
    run: gr.Button
    dropout: gr.Dropdown  # the preset
    example: gr.Textbox  # name of the example shown, empty for the visitor's own picture
    example_chosen: Any  # the event after which an example fills the form
    redrawn: Any  # the event after which the form holds another seed

    @property
    def target(self) -> Component:
        """The class looked at."""
        return self.form["target"]

    def kept(self) -> dict[str, Component]:
        """What a link or a browser keeps, by name: all settings, but neither picture nor list."""
        return {name: self.form[name] for name in ("backbone", "prompts", *SETTINGS)}

    def edited(self) -> list[Callable[..., Any]]:
        """The events of a visitor who changes what the next analysis will be of."""
        filled_in = [one for one in (*self.form.values(), self.dropout) if one is not self.target]
        # What is pasted into a text is a change, but no input to Gradio.
        return [one.change if isinstance(one, gr.Textbox) else one.input for one in filled_in]


def build_inputs(studio: Studio, start: str) -> Inputs:
    """The left column; `start` names the prompts chosen at first."""
    image = SafeImage(
        label="Photograph", sources=["upload", "webcam", "clipboard"], type="pil",
        value=EXAMPLES[0].photo, height=230, elem_id="image", buttons=["fullscreen"],
    )  # fmt: skip
    classes = gr.Textbox(
        EXAMPLES[0].classes, label="Classes", lines=2, max_lines=6, elem_id="classes",
        info="Names separated by commas or lines.", max_length=200_000,
    )  # fmt: skip
    example = gr.Textbox(EXAMPLES[0].name, visible=False)
    examples = gr.Examples(
        [[one.photo, one.classes, one.name] for one in EXAMPLES], [image, classes, example],
        label="Examples", elem_id="examples", api_visibility="private",
        example_labels=[one.label for one in EXAMPLES],
    )  # fmt: skip
    failures = [f"{one.label}: {one.failure}" for one in EXAMPLES if one.failure]
    gr.Markdown("\n\n".join(failures), elem_id="failures", elem_classes="lens-note")
    image.input(lambda: "", None, example, **QUIET)
    preset = gr.Dropdown(
        [*PRESETS, OWN_CLASSES], value=None, label="Class list presets", elem_id="preset"
    )
    cards = studio.prompts_for("mini")
    prompts = gr.Dropdown(
        [*cards, NO_PROMPTS], value=start, label="Trained prompts", elem_id="prompts",
        allow_custom_value=studio.own_files,
        info="Or your .safetensors file, or user/repo@revision." if studio.own_files else None,
    )  # fmt: skip
    run = gr.Button("Analyse", variant="primary", elem_id="run")
    shown = vars(Form()) | dropout_values(studio.trained_dropout("mini", start))

    def built(group: str) -> dict[str, Component]:
        return {n: one.build(shown[n]) for n, one in SETTINGS.items() if one.group == group}

    with gr.Accordion("Dropout", open=False, elem_id="dropout"):
        choice = gr.Dropdown(
            [TRAINED, PAPER, CODE, CUSTOM], value=TRAINED, label="Preset", elem_id="dropout-preset",
            info="The official code drops nothing: it multiplies chosen tokens by 1 + 0.03 noise.",
        )  # fmt: skip
        settings = built("dropout")
        with gr.Row():
            settings |= built("weights")
        settings |= built("text prompts")
        with gr.Row():
            settings |= built("draw")
            seed = settings["seed"]
            again = gr.Button("Another draw", elem_id="again", min_width=90)
            redrawn = again.click(next_seed, seed, seed, **QUIET)
    with gr.Accordion("Model and text", open=False, elem_id="advanced"):
        backbone = gr.Dropdown(
            [*BACKBONES], value="mini", label="Backbone", elem_id="backbone",
            allow_custom_value=studio.own_files,
            info="mini comes with the app; others need the network once, or a local cache.",
        )  # fmt: skip
        settings |= built("text")
    # The class looked at belongs to the results, but an analysis needs it too: drawn over there.
    target = gr.Dropdown(
        [], label="Class looked at", elem_id="target", render=False, interactive=True,
        allow_custom_value=True, filterable=True,
    )  # fmt: skip
    form = {"image": image, "classes": classes, "backbone": backbone, "prompts": prompts,
            "target": target, **settings}  # fmt: skip
    inputs = Inputs(
        form=form, run=run, dropout=choice, example=example,
        example_chosen=examples.load_input_event, redrawn=redrawn,
    )  # fmt: skip
    _link(studio, inputs, preset)
    return inputs


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
    # Other prompts, chosen by hand: their own dropout. A link that names prompts brings its own.
    for chosen in (other.then, prompts.input):
        chosen(lambda: TRAINED, None, choice, **QUIET).then(
            fill, [choice, prompts, backbone], knobs, **QUIET
        )
    for knob in knobs:
        by_hand = knob.release if isinstance(knob, gr.Slider) else knob.input
        by_hand(lambda: CUSTOM, None, choice, **QUIET)


def next_seed(seed: float | None) -> int:
    """The seed of another draw; after the highest comes 0."""
    return (int(seed or 0) + 1) % (SEED["maximum"] + 1)


def preset_classes(studio: Studio, chosen: str | None, prompts: str, backbone: str) -> Any:
    """The class list a preset stands for."""
    if chosen == OWN_CLASSES:
        card = studio.prompts_for(backbone).get(prompts)
        return ", ".join(card.classes) if card else gr.skip()
    return PRESETS.get(chosen or "", gr.skip())


def prompts_choices(studio: Studio, backbone: str) -> Any:
    """The prompts there are for a backbone; none, where there are none."""
    names = [*studio.prompts_for(backbone), NO_PROMPTS]
    return gr.Dropdown(names, value=names[0])


def preset_dropout(studio: Studio, chosen: str, prompts: str, backbone: str) -> list[Any]:
    """The values a preset stands for, in the order of `KNOBS`."""
    if chosen == CUSTOM:
        return [gr.skip()] * len(KNOBS)
    trained = studio.trained_dropout(backbone, prompts)
    preset = {TRAINED: trained, CODE: OFFICIAL_CODE}.get(chosen, DropoutSettings())
    return [*dropout_values(preset).values()]

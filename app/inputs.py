"""What a visitor gives: the picture, the class list, the prompts, the dropout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import gradio as gr
from PIL import Image

from app.calls import user_errors
from app.examples import EXAMPLES
from app.studio import BACKBONES, NO_PROMPTS, Studio
from drople.analysis import AnalysisSettings
from drople.images import read_image
from drople.tokens.dropout import DROP_MODES, OFFICIAL_CODE, PLACEMENTS, DropoutSettings
from drople.tokens.importance import SignalWeights

PRESETS: dict[str, str] = {
    "Animals": "cat, dog, horse, cow, sheep, elephant, bear, bird, fish, snake",
    "Vehicles": "car, bus, train, bicycle, motorcycle, boat, airplane",
    "Food": "pizza, broccoli, cake, sandwich, soup, banana, bread, salad",
    "People": "tennis player, swimmer, skier, cyclist, cook, astronaut",
    "Rooms": "bedroom, kitchen, office, bathroom, library, living room",
    "Places": "beach, forest, mountain, street, church, bridge, garden, river, desert",
}
OWN_CLASSES = "Classes the prompts were trained on"
KNOBS = ("mode", "placement", "p_min", "p_max", "w_self", "w_cls", "w_cross")
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

    image: gr.Image
    classes: gr.Textbox
    backbone: gr.Dropdown
    prompts: gr.Dropdown
    template: gr.Textbox
    target: gr.Dropdown
    mode: gr.Radio
    placement: gr.Radio
    p_min: gr.Slider
    p_max: gr.Slider
    matched: gr.Checkbox
    p: gr.Slider
    w_self: gr.Slider
    w_cls: gr.Slider
    w_cross: gr.Slider
    drop_text: gr.Checkbox
    seed: gr.Number
    run: gr.Button
    dropout: gr.Dropdown  # the preset
    example: gr.Textbox  # name of the example shown, empty for the visitor's own picture
    example_chosen: Any  # the event after which an example fills the form
    redrawn: Any  # the event after which the form holds another seed

    def knobs(self) -> list[gr.components.Component]:
        """What a dropout preset sets."""
        return [getattr(self, name) for name in KNOBS]

    def kept(self) -> dict[str, gr.components.Component]:
        """What a link or a browser keeps, by name: all settings, but neither picture nor list."""
        asked = {"backbone", "prompts", "template", *KNOBS, "matched", "p", "drop_text", "seed"}
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name in asked}

    def edited(self) -> list[Callable[..., Any]]:
        """The events of a visitor who changes what the next analysis will be of."""
        form = [one for one in (*self.asked(), self.dropout) if one is not self.target]
        # What is pasted into a text is a change, but no input to Gradio.
        return [one.change if isinstance(one, gr.Textbox) else one.input for one in form]

    def asked(self) -> list[gr.components.Component]:
        """The inputs of an analysis, as `settings_of` takes them after the first four."""
        return [
            self.image, self.classes, self.backbone, self.prompts, self.template, self.target,
            self.mode, self.placement, self.p_min, self.p_max, self.matched, self.p,
            self.w_self, self.w_cls, self.w_cross, self.drop_text, self.seed,
        ]  # fmt: skip


def settings_of(
    template: str,
    target: str | None,
    mode: str,
    placement: str,
    p_min: float,
    p_max: float,
    matched: bool,
    p: float,
    w_self: float,
    w_cls: float,
    w_cross: float,
    drop_text: bool,
    seed: float | None,
    *,
    trained: DropoutSettings,
) -> AnalysisSettings:
    """The form's values as settings; depths and [SOS] are those the prompts were trained with.

    Raises:
        SettingsError: a value is out of its range.
    """
    dropout = DropoutSettings(
        mode=mode,  # type: ignore[arg-type]  # checked by DropoutSettings
        placement=placement,  # type: ignore[arg-type]
        p=p,
        p_min=p_min,
        p_max=p_max,
        weights=SignalWeights(w_self, w_cls, w_cross),
        normalisation=trained.normalisation,
        sigma=trained.sigma,
        drop_sos=(mode, placement) == (OFFICIAL_CODE.mode, OFFICIAL_CODE.placement),
        image_depth=trained.image_depth,
        text_depth=trained.text_depth,
    )
    return AnalysisSettings(
        dropout=dropout,
        seed=int(seed or 0),
        template=template,
        matched=matched,
        drop_text=drop_text,
        target=target or None,
    )


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
    image.input(lambda: "", None, example, show_progress="hidden", api_visibility="private")
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
    trained = cards[start].dropout if start in cards else DropoutSettings()
    with gr.Accordion("Dropout", open=False, elem_id="dropout"):
        choice = gr.Dropdown(
            [TRAINED, PAPER, CODE, CUSTOM], value=TRAINED, label="Preset", elem_id="dropout-preset",
            info="The official code drops nothing: it multiplies chosen tokens by 1 + 0.03 noise.",
        )  # fmt: skip
        p_min = gr.Slider(
            0, 1, trained.p_min, step=0.01, label="p_min, of the most important token"
        )
        p_max = gr.Slider(
            0, 1, trained.p_max, step=0.01, label="p_max, of the least important token"
        )
        matched = gr.Checkbox(
            True, label="Vanilla at IWTD's rate",
            info="Vanilla's p is IWTD's mean p, layer by layer: only the choice of tokens differs.",
        )  # fmt: skip
        p = gr.Slider(0, 1, 0.3, step=0.01, label="Vanilla's own p", info="Used if not matched.")
        mode = gr.Radio(
            [*DROP_MODES], value=trained.mode, label="What happens to a dropped token",
            info="zero: set to 0. zero_scaled: the kept are scaled by 1/(1-p). hide: no token "
            "attends to it. noise: multiplied by 1 + 0.03 N(0, 1).",
        )  # fmt: skip
        placement = gr.Radio(
            [*PLACEMENTS], value=trained.placement, label="When",
            info="next: entering the next layer, after fresh prompts. post: right after the layer.",
        )  # fmt: skip
        with gr.Row():
            w_self = gr.Slider(
                0, 3, trained.weights.s_self, step=0.1, label="weight of s_self", min_width=200
            )
            w_cls = gr.Slider(
                0, 3, trained.weights.s_cls, step=0.1, label="weight of s_cls", min_width=200
            )
            w_cross = gr.Slider(
                0, 3, trained.weights.s_cross, step=0.1, label="weight of s_cross", min_width=200
            )
        drop_text = gr.Checkbox(
            False, label="Drop text prompts too",
            info="Each class draws for itself, which alone can reorder classes.",
        )  # fmt: skip
        with gr.Row():
            seed = gr.Number(0, label="Seed", precision=0, elem_id="seed", minimum=0, min_width=90)
            again = gr.Button("Another draw", elem_id="again", min_width=90)
            redrawn = again.click(
                lambda seed: int(seed or 0) + 1, seed, seed,
                show_progress="hidden", api_visibility="private",
            )  # fmt: skip
    with gr.Accordion("Model and text", open=False, elem_id="advanced"):
        backbone = gr.Dropdown(
            [*BACKBONES], value="mini", label="Backbone", elem_id="backbone",
            allow_custom_value=studio.own_files,
            info="mini comes with the app; others need the network once, or a local cache.",
        )  # fmt: skip
        template = gr.Textbox(
            "a photo of a {}.", label="Template of the frozen text branch", elem_id="template"
        )
    # The class looked at belongs to the results, but an analysis needs it too: drawn over there.
    target = gr.Dropdown(
        [], label="Class looked at", elem_id="target", render=False, interactive=True,
        allow_custom_value=True, filterable=True,
    )  # fmt: skip
    inputs = Inputs(
        image, classes, backbone, prompts, template, target, mode, placement, p_min, p_max,
        matched, p, w_self, w_cls, w_cross, drop_text, seed, run, choice, example,
        examples.load_input_event, redrawn,
    )  # fmt: skip
    _link(studio, inputs, preset, choice)
    return inputs


def _link(studio: Studio, inputs: Inputs, preset: gr.Dropdown, choice: gr.Dropdown) -> None:
    """Lets presets fill the form; changing a value by hand leaves the preset."""
    shown = {"show_progress": "hidden", "api_visibility": "private"}
    source = [inputs.prompts, inputs.backbone]
    knobs = inputs.knobs()
    preset.input(partial(preset_classes, studio), [preset, *source], inputs.classes, **shown)
    other = inputs.backbone.input(
        partial(prompts_choices, studio), inputs.backbone, inputs.prompts, **shown
    )
    choice.input(partial(preset_dropout, studio), [choice, *source], knobs, **shown)
    # Other prompts, chosen by hand: their own dropout. A link that names prompts brings its own.
    for chosen in (other.then, inputs.prompts.input):
        chosen(lambda: TRAINED, None, choice, **shown).then(
            partial(preset_dropout, studio), [choice, *source], knobs, **shown
        )
    for knob in knobs:
        by_hand = knob.release if isinstance(knob, gr.Slider) else knob.input
        by_hand(lambda: CUSTOM, None, choice, **shown)


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
    """The values a preset stands for, in the order of `Inputs.knobs`."""
    if chosen == CUSTOM:
        return [gr.skip()] * 7
    card = studio.prompts_for(backbone).get(prompts)
    trained = card.dropout if card else DropoutSettings()
    s = {TRAINED: trained, CODE: OFFICIAL_CODE}.get(chosen, DropoutSettings())
    return [
        s.mode, s.placement, s.p_min, s.p_max, s.weights.s_self, s.weights.s_cls, s.weights.s_cross
    ]  # fmt: skip

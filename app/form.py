"""The form as data, read by name: a field that is a setting says all there is to say of it.

The page builds a setting's component, a link and a browser keep it, and its bounds hold for all.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import gradio as gr
from gradio.components import Component
from PIL import Image

from app.figures.theme import CONDITION_NAMES
from app.studio import NO_PROMPTS
from drople.analysis import AnalysisSettings
from drople.classes import check_template
from drople.errors import SettingsError
from drople.gradcam import CAM_METHODS
from drople.tokens.dropout import COMPARED, DROP_MODES, OFFICIAL_CODE, PLACEMENTS, DropoutSettings
from drople.tokens.importance import SIGNALS, SignalWeights

PROBABILITY = {"minimum": 0, "maximum": 1, "step": 0.01}
WEIGHT = {"minimum": 0, "maximum": 3, "step": 0.1, "min_width": 200}
DROPOUTS = [(CONDITION_NAMES[name], name) for name in COMPARED]
SEED = {"minimum": 0, "maximum": 2**31 - 1, "precision": 0}
WEIGHTS = {name: f"w_{name.removeprefix('s_')}" for name in SIGNALS}  # signal -> its setting


@dataclass(frozen=True)
class Setting:
    """How a setting looks on the page, and what of a link or a browser is a value of it."""

    group: str  # of the page's layout
    component: type[Component]
    look: dict[str, Any]  # what the component is built with

    def build(self, value: Any) -> Component:
        """The component, holding a value."""
        return self.component(value=value, **self.look)

    def read(self, value: Any) -> Any:
        """A value as the component would give it; None where it would not."""
        if self.component is gr.Checkbox:
            return {"true": True, "false": False}.get(str(value).lower())
        if self.component in (gr.Dropdown, gr.Radio):
            names = [one if isinstance(one, str) else one[1] for one in self.look["choices"]]
            return value if value in names else None
        try:
            if self.component is gr.Textbox:
                return check_template(str(value))
            number = float(value)
        except (SettingsError, TypeError, ValueError):
            return None
        if not self.look["minimum"] <= number <= self.look["maximum"]:
            return None
        return int(number) if self.component is gr.Number else number


def _setting(default: Any, group: str, component: type[Component], **look: Any) -> Any:
    return field(default=default, metadata={"setting": Setting(group, component, look)})


@dataclass(frozen=True, kw_only=True)
class Form:
    """What an analysis is asked of and with; a field with a `Setting` is kept by the link."""

    image: Image.Image | None = None
    classes: str = ""  # separated by commas or lines
    backbone: str = "mini"
    prompts: str = NO_PROMPTS
    target: str | None = None  # the class looked at; None for the answer
    template: str = _setting(
        "a photo of a {}.", "text", gr.Textbox, label="Template of the frozen text branch",
        elem_id="template",
    )  # fmt: skip
    p_min: float = _setting(
        0.1, "dropout", gr.Slider, label="p_min, of the most important token", **PROBABILITY
    )
    p_max: float = _setting(
        0.5, "dropout", gr.Slider, label="p_max, of the least important token", **PROBABILITY
    )
    matched: bool = _setting(
        True, "dropout", gr.Checkbox, label="Both at one mean rate",
        info="Layer by layer IWTD's, or the first one's: only the choice of tokens differs.",
    )  # fmt: skip
    p: float = _setting(
        0.3, "dropout", gr.Slider, label="Vanilla's own p", info="Used if not matched.",
        **PROBABILITY,
    )  # fmt: skip
    mode: str | None = _setting(  # None: the dropout is all as the prompts were trained
        None, "dropout", gr.Radio, choices=[*DROP_MODES], label="What happens to a dropped token",
        info=" ".join(f"{name}: {mode.description}" for name, mode in DROP_MODES.items()),
    )  # fmt: skip
    placement: str | None = _setting(
        None, "dropout", gr.Radio, choices=PLACEMENTS, label="When",
        info="next: entering the next layer, after fresh prompts. post: right after the layer.",
    )  # fmt: skip
    w_self: float = _setting(1, "weights", gr.Slider, label="weight of s_self", **WEIGHT)
    w_cls: float = _setting(1, "weights", gr.Slider, label="weight of s_cls", **WEIGHT)
    w_cross: float = _setting(1, "weights", gr.Slider, label="weight of s_cross", **WEIGHT)
    drop_text: bool = _setting(
        False, "text prompts", gr.Checkbox, label="Drop text prompts too",
        info="Each class draws for itself, which alone can reorder classes.",
    )  # fmt: skip
    compared: str = _setting(
        "iwtd", "pair", gr.Dropdown, label="Dropouts compared", elem_id="compare-a",
        choices=DROPOUTS, filterable=False, min_width=120,
    )  # fmt: skip
    against: str = _setting(
        "vanilla", "pair", gr.Dropdown, label="with", elem_id="compare-b",
        choices=DROPOUTS, filterable=False, min_width=120,
    )  # fmt: skip
    cam_method: str = _setting(
        "gradcam", "maps", gr.Radio, label="Maps of classes",
        choices=[(one.label, name) for name, one in CAM_METHODS.items()],
    )  # fmt: skip
    cam_layer: float | None = _setting(
        0, "maps", gr.Number, label="Maps at the input of block", info="From 1; 0 is the last.",
        minimum=0, maximum=99, precision=0,
    )  # fmt: skip
    seed: float | None = _setting(  # None, an empty component, is 0
        0, "draw", gr.Number, label="Seed", elem_id="seed", min_width=90, **SEED
    )

    @property
    def pair(self) -> tuple[str, str]:
        """The dropouts compared, A and B: keys of STRATEGIES."""
        return self.compared, self.against


SETTINGS: dict[str, Setting] = {
    one.name: one.metadata["setting"] for one in fields(Form) if "setting" in one.metadata
}


def dropout_values(dropout: DropoutSettings) -> dict[str, Any]:
    """What the form shows of a dropout, by name; vanilla's own p is set apart from it."""
    return {
        "mode": dropout.mode,
        "placement": dropout.placement,
        "p_min": dropout.p_min,
        "p_max": dropout.p_max,
        **{setting: vars(dropout.weights)[name] for name, setting in WEIGHTS.items()},
    }


def settings_of(form: Form, *, trained: DropoutSettings) -> AnalysisSettings:
    """The form's values as settings; depths and [SOS] are those the prompts were trained with.

    Raises:
        SettingsError: a value is out of its range.
    """
    dropout = trained
    if form.mode is not None:
        dropout = DropoutSettings(
            mode=form.mode,
            placement=form.placement,  # type: ignore[arg-type]
            p=form.p,
            p_min=form.p_min,
            p_max=form.p_max,
            weights=SignalWeights(**{n: vars(form)[setting] for n, setting in WEIGHTS.items()}),
            normalisation=trained.normalisation,
            sigma=trained.sigma,
            drop_sos=(form.mode, form.placement) == (OFFICIAL_CODE.mode, OFFICIAL_CODE.placement),
            image_depth=trained.image_depth,
            text_depth=trained.text_depth,
        )
    return AnalysisSettings(
        dropout=dropout,
        seed=int(form.seed or 0),
        template=form.template,
        matched=form.matched,
        drop_text=form.drop_text,
        cam_method=form.cam_method,
        cam_layer=int(form.cam_layer) - 1 if form.cam_layer else None,
        target=form.target or None,
    )

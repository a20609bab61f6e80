"""The form as data, read by name: a field that is a setting says all there is to say of it.

The page builds a setting's component, a link and a browser keep it, and its bounds hold for all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

import gradio as gr
from PIL import Image

from app.studio import NO_PROMPTS
from drople.analysis import AnalysisSettings
from drople.classes import check_template
from drople.errors import SettingsError
from drople.tokens.dropout import DROP_MODES, OFFICIAL_CODE, PLACEMENTS, DropoutSettings
from drople.tokens.importance import SignalWeights

PROBABILITY, WEIGHT, SEED = (0, 1), (0, 3), (0, 2**31 - 1)  # lowest and highest


@dataclass(frozen=True)
class Setting:
    """How a setting looks on the page, and what of a link or a browser is a value of it."""

    group: str  # of the page's layout
    build: Callable[..., gr.components.Component]  # takes the `value` it holds at first
    read: Callable[[Any], Any]  # the value, or None where it is not one


def _setting(
    default: Any, group: str, build: Callable[..., Any], *, read: Callable[[Any], Any]
) -> Any:
    return field(default=default, metadata={"setting": Setting(group, build, read)})


def _number(
    default: float, group: str, build: Callable[..., Any], *, bounds: tuple[float, float]
) -> Any:
    low, high = bounds

    def read(value: Any) -> float | None:
        try:
            number = float(value)
        except (TypeError, ValueError):
            return None
        return type(default)(number) if low <= number <= high else None

    return _setting(default, group, partial(build, minimum=low, maximum=high), read=read)


def _choice(group: str, build: Callable[..., Any], *, choices: tuple[str, ...]) -> Any:
    return _setting(
        None, group, partial(build, [*choices]),
        read=lambda value: value if value in choices else None,
    )  # fmt: skip


def _yes_or_no(default: bool, group: str, build: Callable[..., Any]) -> Any:
    known = {"true": True, "false": False}
    return _setting(default, group, build, read=lambda value: known.get(str(value).lower()))


def _read_template(value: Any) -> str | None:
    try:
        return check_template(str(value))
    except SettingsError:
        return None


_P = partial(gr.Slider, step=0.01)
_WEIGHT = partial(gr.Slider, step=0.1, min_width=200)


@dataclass(frozen=True, kw_only=True)
class Form:
    """What an analysis is asked of and with; a field with a `Setting` is kept by the link."""

    image: Image.Image | None = None
    classes: str = ""  # separated by commas or lines
    backbone: str = "mini"
    prompts: str = NO_PROMPTS
    target: str | None = None  # the class looked at; None for the answer
    cam_method: str = "gradcam"
    cam_layer: float | None = None  # from 1; None for the last block
    template: str = _setting(
        "a photo of a {}.", "text",
        partial(gr.Textbox, label="Template of the frozen text branch", elem_id="template"),
        read=_read_template,
    )  # fmt: skip
    p_min: float = _number(
        0.1, "dropout", partial(_P, label="p_min, of the most important token"), bounds=PROBABILITY
    )
    p_max: float = _number(
        0.5, "dropout", partial(_P, label="p_max, of the least important token"), bounds=PROBABILITY
    )
    matched: bool = _yes_or_no(True, "dropout", partial(
        gr.Checkbox, label="Vanilla at IWTD's rate",
        info="Vanilla's p is IWTD's mean p, layer by layer: only the choice of tokens differs.",
    ))  # fmt: skip
    p: float = _number(
        0.3, "dropout", partial(_P, label="Vanilla's own p", info="Used if not matched."),
        bounds=PROBABILITY,
    )  # fmt: skip
    # Without a mode, the dropout is all as the prompts were trained.
    mode: str | None = _choice("dropout", partial(
        gr.Radio, label="What happens to a dropped token",
        info="zero: set to 0. zero_scaled: the kept are scaled by 1/(1-p). hide: no token "
        "attends to it. noise: multiplied by 1 + 0.03 N(0, 1).",
    ), choices=DROP_MODES)  # fmt: skip
    placement: str | None = _choice("dropout", partial(
        gr.Radio, label="When",
        info="next: entering the next layer, after fresh prompts. post: right after the layer.",
    ), choices=PLACEMENTS)  # fmt: skip
    w_self: float = _number(
        1.0, "weights", partial(_WEIGHT, label="weight of s_self"), bounds=WEIGHT
    )
    w_cls: float = _number(1.0, "weights", partial(_WEIGHT, label="weight of s_cls"), bounds=WEIGHT)
    w_cross: float = _number(
        1.0, "weights", partial(_WEIGHT, label="weight of s_cross"), bounds=WEIGHT
    )
    drop_text: bool = _yes_or_no(False, "text prompts", partial(
        gr.Checkbox, label="Drop text prompts too",
        info="Each class draws for itself, which alone can reorder classes.",
    ))  # fmt: skip
    seed: float | None = _number(
        0, "draw", partial(gr.Number, label="Seed", precision=0, elem_id="seed", min_width=90),
        bounds=SEED,
    )  # fmt: skip


SETTINGS: dict[str, Setting] = {
    one.name: one.metadata["setting"] for one in fields(Form) if "setting" in one.metadata
}
DEFAULTS: dict[str, Any] = {one.name: one.default for one in fields(Form)}


def dropout_values(dropout: DropoutSettings) -> dict[str, Any]:
    """What the form shows of a dropout, by name; vanilla's own p is set apart from it."""
    weights = dropout.weights
    return {
        "mode": dropout.mode,
        "placement": dropout.placement,
        "p_min": dropout.p_min,
        "p_max": dropout.p_max,
        "w_self": weights.s_self,
        "w_cls": weights.s_cls,
        "w_cross": weights.s_cross,
    }


def settings_of(form: Form, *, trained: DropoutSettings) -> AnalysisSettings:
    """The form's values as settings; depths and [SOS] are those the prompts were trained with.

    Raises:
        SettingsError: a value is out of its range.
    """
    dropout = trained
    if form.mode is not None:
        dropout = DropoutSettings(
            mode=form.mode,  # type: ignore[arg-type]  # checked by DropoutSettings
            placement=form.placement,  # type: ignore[arg-type]
            p=form.p,
            p_min=form.p_min,
            p_max=form.p_max,
            weights=SignalWeights(form.w_self, form.w_cls, form.w_cross),
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
        cam_layer=None if form.cam_layer is None else int(form.cam_layer) - 1,
        target=form.target or None,
    )

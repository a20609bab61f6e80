"""A link that brings the settings back, and the settings that a browser keeps.

Whoever makes a link can put anything into it: every value is checked, and what is not right is
left as it was. A picture is never in a link; an example is named.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from app.examples import EXAMPLES
from app.inputs import CUSTOM, KNOBS, TRAINED, Inputs, preset_dropout
from app.studio import BACKBONES, NO_PROMPTS, Studio
from drople.classes import check_template
from drople.errors import SettingsError
from drople.tokens.dropout import DROP_MODES, PLACEMENTS

QUIET = {"show_progress": "hidden", "api_visibility": "private"}
MAX_CLASSES = 4000  # characters of a class list in a link
SEEDS = 2**31
# Names, then values: the link, written to the clipboard where the browser lets a page do that.
COPY = """(...values) => {
    const names = %s, query = new URLSearchParams()
    names.forEach((name, i) => {
        const value = String(values[i] ?? '')
        if (value && value.length <= %d) query.set(name, value)
    })
    const link = location.origin + location.pathname + '?' + query
    navigator.clipboard?.writeText(link).catch(() => {})
    return link
}"""
KEEP = """(...values) => Object.fromEntries(%s.map((name, i) => [name, values[i]]))"""


def build(
    studio: Studio, inputs: Inputs
) -> tuple[gr.BrowserState, Callable[..., list[Any]], list[gr.components.Component]]:
    """Lays out buttons and link; gives what the browser keeps, what restores it, and where to."""
    kept = inputs.kept()
    with gr.Row():
        copy = gr.Button("Copy link", elem_id="copy-link", size="sm", min_width=90)
        reset = gr.Button("Reset settings", elem_id="reset", size="sm", min_width=90)
    link = gr.Textbox(
        label="Link to these settings", elem_id="link", interactive=False, buttons=["copy"],
        placeholder=" ", info="An uploaded picture is not in it.", max_lines=2,
    )  # fmt: skip
    # The secret keeps nobody out: the browser has it. It only has to stay the same.
    stored = gr.BrowserState({}, storage_key="drople-lens", secret="drople-lens")
    linked = {"example": inputs.example, "classes": inputs.classes, **kept}
    copying = COPY % (json.dumps([*linked]), MAX_CLASSES)
    copy.click(None, [*linked.values()], link, js=copying, **QUIET)
    inputs.run.click(None, [*kept.values()], stored, js=KEEP % json.dumps([*kept]), **QUIET)
    defaults = [one.value for one in kept.values()]
    reset.click(lambda: [{}, *defaults, TRAINED], None,
                [stored, *kept.values(), inputs.dropout], **QUIET)  # fmt: skip
    into = {"image": inputs.image, **linked, "dropout": inputs.dropout}

    def restore(known: dict[str, Any] | None, request: gr.Request) -> list[Any]:
        """What the link asks for; else what the browser kept; else nothing new."""
        link = {name: text for name, text in request.query_params.items() if name in linked}
        found = restored(studio, link or known or {})
        return [found.get(name, gr.skip()) for name in into]

    return stored, restore, [*into.values()]


def restored(studio: Studio, given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a link or a browser that are right, by the name of their component."""
    found: dict[str, Any] = {}
    example = next((one for one in EXAMPLES if one.name == given.get("example")), None)
    if example:
        found |= {"image": example.photo, "classes": example.classes, "example": example.name}
    if isinstance(given.get("classes"), str) and given["classes"][:MAX_CLASSES].strip():
        found["classes"] = given["classes"][:MAX_CLASSES]
        if not example:  # the link was made for an uploaded picture
            found |= {"image": None, "example": ""}
    backbone = given.get("backbone", "mini")
    if backbone in BACKBONES:
        found |= _prompts(studio, backbone, given)
    for name, read in READ.items():
        value = read(given[name]) if name in given else None
        if value is not None:
            found[name] = value
    if any(name in KNOBS and name in given for name in found):
        found["dropout"] = CUSTOM
    return found


def _prompts(studio: Studio, backbone: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Backbone and prompts, where one of them is given, with the dropout of those prompts."""
    if not {"backbone", "prompts"} & given.keys():
        return {}
    names = [*studio.prompts_for(backbone), NO_PROMPTS]
    asked = str(given.get("prompts"))
    chosen = asked if asked in names else names[0]
    knobs = preset_dropout(studio, TRAINED, chosen, backbone)
    dropdown = gr.Dropdown(names, value=chosen)
    return {"backbone": backbone, "prompts": dropdown, **dict(zip(KNOBS, knobs, strict=True))}


def _number(low: float, high: float) -> Callable[[Any], float | None]:
    def read(value: Any) -> float | None:
        try:
            number = float(value)
        except (TypeError, ValueError):
            return None
        return number if low <= number <= high else None

    return read


def _one_of(choices: tuple[str, ...]) -> Callable[[Any], str | None]:
    return lambda value: value if value in choices else None


def _yes_or_no(value: Any) -> bool | None:
    return {"true": True, "false": False}.get(str(value).lower())


def _template(value: Any) -> str | None:
    try:
        return check_template(str(value))
    except SettingsError:
        return None


def _seed(value: Any) -> int | None:
    number = _number(0, SEEDS - 1)(value)
    return None if number is None else int(number)


READ: dict[str, Callable[[Any], Any]] = {
    "template": _template,
    "mode": _one_of(tuple(DROP_MODES)),
    "placement": _one_of(tuple(PLACEMENTS)),
    **{name: _number(0, 1) for name in ("p_min", "p_max", "p")},
    **{name: _number(0, 3) for name in ("w_self", "w_cls", "w_cross")},
    "matched": _yes_or_no,
    "drop_text": _yes_or_no,
    "seed": _seed,
}

"""A link that brings the settings back, and the settings that a browser keeps.

Whoever makes a link can put anything into it: every value is checked, and what is not right is
left as it was. A picture is never in a link; an example is named.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import gradio as gr

from app.examples import EXAMPLES
from app.form import SETTINGS, dropout_values
from app.inputs import CUSTOM, KNOBS, QUIET, TRAINED, Inputs, named_prompts
from app.studio import BACKBONES, NO_PROMPTS, Studio

MAX_CLASSES = 4000  # characters of a class list in a link
# Names, then values: the link, written to the clipboard where the browser lets a page do that.
COPY = """(...values) => {
    const names = %s, query = new URLSearchParams()
    names.forEach((name, i) => {
        const value = String(values[i] ?? '')
        if (value && value.length <= %d) query.set(name, value)
    })
    lookingAt(query)
    const link = location.origin + location.pathname + '?' + query
    navigator.clipboard?.writeText(link).catch(() => {})
    return link
}"""
KEEP = """(...values) => Object.fromEntries(%s.map((name, i) => [name, values[i]]))"""


def build(studio: Studio, inputs: Inputs, demo: gr.Blocks) -> gr.events.Dependency:
    """Lays out buttons and link; gives the event after which link or browser filled the form."""
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
    linked = {"example": inputs.example, "classes": inputs.form["classes"], **kept}
    copying = COPY % (json.dumps([*linked]), MAX_CLASSES)
    copy.click(None, [*linked.values()], link, js=copying, **QUIET)
    inputs.run.click(None, [*kept.values()], stored, js=KEEP % json.dumps([*kept]), **QUIET)
    defaults = [{}, *(one.value for one in kept.values()), TRAINED]
    reset.click(lambda: defaults, None, [stored, *kept.values(), inputs.dropout], **QUIET)
    into = {"image": inputs.form["image"], **linked, "dropout": inputs.dropout}

    def restore(memory: dict[str, Any] | None, request: gr.Request) -> list[Any]:
        """What the link asks for; else what the browser kept; else nothing new."""
        link = {name: text for name, text in request.query_params.items() if name in linked}
        values = restored(studio, link or memory or {})
        return [values.get(name, gr.skip()) for name in into]

    return demo.load(restore, stored, [*into.values()], **QUIET)


def restored(studio: Studio, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a link or a browser that are right, by the name of their component."""
    values: dict[str, Any] = {}
    example = next((one for one in EXAMPLES if one.name == asked.get("example")), None)
    if example:
        values |= {"image": example.photo, "classes": example.classes, "example": example.name}
    if isinstance(asked.get("classes"), str) and asked["classes"][:MAX_CLASSES].strip():
        values["classes"] = asked["classes"][:MAX_CLASSES]
        if not example:  # the link was made for an uploaded picture
            values |= {"image": None, "example": ""}
    backbone = asked.get("backbone", "mini")
    if backbone in BACKBONES:
        values |= _prompts(studio, backbone, asked)
    settings = {name: one.read(asked[name]) for name, one in SETTINGS.items() if name in asked}
    values |= {name: value for name, value in settings.items() if value is not None}
    if any(name in KNOBS and name in asked for name in values):
        values["dropout"] = CUSTOM
    return values


def _prompts(studio: Studio, backbone: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Backbone and prompts, where one of them is asked for, with the dropout of those prompts."""
    if not {"backbone", "prompts"} & asked.keys():
        return {}
    names = [*studio.prompts_for(backbone), NO_PROMPTS]
    named = str(asked.get("prompts"))
    chosen = named if named in names else names[0]
    dropout = dropout_values(studio.trained_dropout(backbone, chosen))
    return {
        "backbone": backbone,
        "prompts": gr.Dropdown(named_prompts(studio, backbone), value=chosen),
        **dropout,
    }

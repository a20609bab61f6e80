"""A link that brings the settings back, and the settings that a browser keeps.

Whoever makes a link can put anything into it: every value is checked, and what is not right is
left as it was. A picture is never in a link; an example is named.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from app.examples import EXAMPLES
from app.form import SETTINGS, dropout_values
from app.inputs import CUSTOM, KNOBS, QUIET, TRAINED, Inputs, named_prompts
from app.studio import BACKBONES, NO_PROMPTS, Studio, own_file
from app.tabs.shared import in_browser, independent_event
from drople.errors import CheckpointError
from drople.storage.hub import is_hub_id

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


def build(
    studio: Studio, inputs: Inputs, demo: gr.Blocks, *, tabs: Mapping[str, gr.Tabs]
) -> gr.events.Dependency:
    """Lays out buttons and link; gives the event after which link or browser filled the form.

    Args:
        tabs: what a link opens, by the name there.
    """
    kept = inputs.kept()
    with gr.Row():
        copy = gr.Button("Copy link", elem_id="copy-link", scale=0, min_width=220)
        reset = gr.Button("Reset settings", elem_id="reset", scale=0, min_width=220)
    link = gr.Textbox(
        label="Link to these settings", elem_id="link", interactive=False, buttons=["copy"],
        placeholder=" ", max_lines=2,
        info="It opens the tab you were on before this one. An uploaded picture is not in it.",
    )  # fmt: skip
    stored = inputs.memory
    linked = {"example": inputs.example, "classes": inputs.form["classes"], **kept}
    copying = COPY % (json.dumps([*linked]), MAX_CLASSES)
    copy.click(None, [*linked.values()], link, js=copying, **QUIET)
    # A link of former settings is gone.
    changed = [*inputs.edited(), *(one.select for one in inputs.pair)]
    in_browser(partial(gr.on, changed), "() => ''", link)
    pressed = independent_event(inputs.run.click)
    pressed(None, [*kept.values()], stored, js=KEEP % json.dumps([*kept]), **QUIET)
    defaults = [{}, *(one.value for one in kept.values()), TRAINED]
    reset.click(lambda: defaults, None, [stored, *kept.values(), inputs.dropout], **QUIET)
    into = {"image": inputs.form["image"], **linked, "dropout": inputs.dropout}

    def restore(memory: dict[str, Any] | None, request: gr.Request) -> list[Any]:
        """What the link asks for; else what the browser kept; else nothing new."""
        link = {name: text for name, text in request.query_params.items() if name in linked}
        asked = link or memory or {}
        values = restored(studio, asked, own=not link)
        for sentence in gone(asked, values):
            gr.Warning(sentence, duration=20)
        # The picture that is missing is asked for on the page's first tab.
        shown = request.query_params if values.get("image", "") is not None else {}
        opened = [tab_of(one, shown.get(f"look-{name}")) for name, one in tabs.items()]
        return [*(values.get(name, gr.skip()) for name in into), *opened]

    return demo.load(restore, stored, [*into.values(), *tabs.values()], **QUIET)


def tab_of(tabs: gr.Tabs, label: str | None) -> Any:
    """The tabs with the one of this label open; nothing new where there is none."""
    ids = {one.label: one.id for one in tabs.children if isinstance(one, gr.Tab)}
    return gr.Tabs(selected=ids[label]) if label in ids else gr.skip()


def restored(studio: Studio, asked: Mapping[str, Any], *, own: bool = False) -> dict[str, Any]:
    """The values of a link or a browser that are right, by the name of their component.

    Args:
        own: the visitor's own browser asks: files and backbones of theirs come back. A link never
            reads a file.
    """
    values: dict[str, Any] = {}
    example = next((one for one in EXAMPLES if one.name == asked.get("example")), None)
    if example:
        values |= {"image": example.photo, "classes": example.classes, "example": example.name}
    if isinstance(asked.get("classes"), str) and asked["classes"][:MAX_CLASSES].strip():
        values["classes"] = asked["classes"][:MAX_CLASSES]
        if not example:  # the link was made for an uploaded picture
            values |= {"image": None, "example": ""}
    backbone = asked.get("backbone", "mini")
    own = own and studio.own_files
    if backbone in BACKBONES or (own and _is_own_backbone(backbone)):
        values |= _prompts(studio, backbone, asked, own=own)
    settings = {name: one.read(asked[name]) for name, one in SETTINGS.items() if name in asked}
    values |= {name: value for name, value in settings.items() if value is not None}
    if any(name in KNOBS and name in asked for name in values):
        values["dropout"] = CUSTOM
    return values


def gone(asked: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    """Sentences on the backbone and the prompts that were asked for and are not shown."""
    sentences = []
    for name, label in (("backbone", "backbone"), ("prompts", "trained prompts")):
        wanted, shown = asked.get(name), values.get(name)
        chosen = shown.constructor_args["value"] if isinstance(shown, gr.Dropdown) else shown
        if isinstance(wanted, str) and wanted and chosen != wanted:
            sentences.append(
                f"The {label} “{escape(wanted[:200])}” of your last visit or of this link cannot "
                f"be shown here any more: {escape(str(chosen)) if chosen else 'the page’s own'} "
                "instead. Choose again in Settings."
            )
    return sentences


def _is_own_backbone(name: object) -> bool:
    """Whether a name may be a backbone beside those offered; loading it tells."""
    if not isinstance(name, str) or len(name) > MAX_CLASSES:
        return False
    if name.startswith("local-dir:"):
        return Path(name.removeprefix("local-dir:")).is_dir()
    return "/" in name


def _is_own_prompts(name: str) -> bool:
    """Whether a name is a file that is still there, or a place on the Hub."""
    try:
        return is_hub_id(name) or bool(own_file(name))
    except CheckpointError:
        return False


def _prompts(
    studio: Studio, backbone: str, asked: Mapping[str, Any], *, own: bool
) -> dict[str, Any]:
    """Backbone and prompts, where one of them is asked for, with the dropout of those prompts.

    Prompts of the visitor's own have the dropout that the browser kept.
    """
    if not {"backbone", "prompts"} & asked.keys():
        return {}
    names = [*studio.prompts_for(backbone), NO_PROMPTS]
    named = str(asked.get("prompts"))
    if own and named not in names and _is_own_prompts(named):
        choices = [*named_prompts(studio, backbone), (named, named)]
        return {"backbone": backbone, "prompts": gr.Dropdown(choices, value=named)}
    chosen = named if named in names else names[0]
    dropout = dropout_values(studio.trained_dropout(backbone, chosen))
    return {
        "backbone": backbone,
        "prompts": gr.Dropdown(named_prompts(studio, backbone), value=chosen),
        **dropout,
    }
